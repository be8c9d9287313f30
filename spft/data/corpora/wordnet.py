"""General-domain sentences: the usage examples in WordNet's ``data.*`` files.

Debian's ``wordnet-base`` puts them in ``/usr/share/wordnet``. They are everyday English
of every field: a decoder that learns from them to follow its prefix leans to no domain.
"""

import re
from pathlib import Path

from spft.data.normalize import normalize
from spft.data.utterance import Utterance
from spft.errors import UserError

MIN_WORDS = 4


def read_wordnet(source: Path) -> list[Utterance]:
    """The distinct usage examples of at least four words, in the files' order.

    Raises:
        UserError: no ``data.*`` file in ``source``.
    """
    files = sorted(source.glob("data.*"))
    if not files:
        raise UserError(
            f"{source}: no data.noun and the like; set WORDNET (db.sh) to the folder "
            "of WordNet's files"
        )
    texts: dict[str, None] = {}
    for path in files:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            for example in re.findall(r'"([^"]+)"', line):
                text = normalize(example)
                if len(text.split()) >= MIN_WORDS:
                    texts[text] = None
    return [Utterance(f"wordnet-{i:05d}", text) for i, text in enumerate(texts)]

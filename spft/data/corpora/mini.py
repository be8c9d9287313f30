"""The embedded mini corpora in ``egs2/<domain>/asr1/downloads``.

A domain has ``adapt.jsonl`` (text only), ``dev.jsonl`` and ``test.jsonl``; general
data has ``train.jsonl`` in place of ``adapt.jsonl``. Audio is ``audio/<id>.ogg``.
"""

import argparse
import re
from pathlib import Path

from spft.data.corpora import find_source
from spft.data.corpora.files import find_audio, read_jsonl
from spft.data.entities import check_span, parse_entities
from spft.data.normalize import normalize
from spft.data.split import hold_out
from spft.data.utterance import Utterance
from spft.errors import UserError

VARIABLE = None
DOMAIN = None
HELP = "an embedded corpus (downloads/)"


def read_file(path: Path, *, audio: bool) -> list[Utterance]:
    """The utterances of one file; with ``audio``, ``speaker`` is needed too.

    Raises:
        UserError: malformed line, text not normalised, span that does not fit, or no
            audio.
    """
    utterances = []
    ids = ("id", "speaker") if audio else ("id",)
    for where, row in read_jsonl(path, ("text", *ids)):
        for key in ids:
            if not re.fullmatch(r"[^\s/]+", str(row[key])):
                raise UserError(
                    f"{where}: {key} {row[key]!r}: white space or a slash in it"
                )
        text, file = row["text"], None
        if not isinstance(text, str) or not text or normalize(text) != text:
            raise UserError(f"{where}: {text!r} is not normalised text; respell it")
        if audio:
            file = find_audio(path.parent / "audio" / str(row["id"]))
            if file is None:
                raise UserError(
                    f"{where}: text without audio: no audio/{row['id']}.ogg; speak it "
                    f"by `python -m spft.bin.synthesize --corpus {path.parent}`"
                )
        entities = None
        if "entities" in row:
            entities = tuple(parse_entities(row["entities"], where))
            for entity in entities:
                check_span(entity, text, where)
        speaker = str(row["speaker"]) if audio else None
        utterances.append(
            Utterance(str(row["id"]), text, speaker, file, entities, row.get("spoken"))
        )
    return utterances


def read_mini(source: Path) -> dict[str, list[Utterance]]:
    """The sets of one mini corpus; 5 % of the adaptation text is its dev part."""
    sets = {
        name: read_file(source / f"{name}.jsonl", audio=True)
        for name in ("dev", "test")
    }
    if (source / "train.jsonl").exists():
        return {"train": read_file(source / "train.jsonl", audio=True), **sets}
    # Leaks are refused later, not removed: in a corpus of one's own they are mistakes.
    train, dev = hold_out(read_file(source / "adapt.jsonl", audio=False), 0.05)
    return {"text/train": train, "text/dev": dev, **sets}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the reader's own options, of which there are none."""


def read(args: argparse.Namespace) -> dict[str, list[Utterance]]:
    """The corpus as the options say."""
    return read_mini(find_source(args.source, VARIABLE))

"""SNIPS 2017-06 custom intent engines: text of chunks, some of which are entities.

Layout: ``<Intent>/train_<Intent>_full.json`` and ``<Intent>/validate_<Intent>.json``.
"""

import argparse
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from spft.data.corpora import add_sizes, find_source
from spft.data.corpora.files import read_json
from spft.data.normalize import spell_out
from spft.data.spans import locate
from spft.data.split import domain_sets, hold_out, others, sample, unique
from spft.data.utterance import Utterance
from spft.errors import UserError

VARIABLE = "SNIPS"
DOMAIN = "music"
HELP = "commands: music, with --intents others"
INTENTS = ("PlayMusic", "AddToPlaylist")
RUDE = re.compile("fuck|shit|bitch|cunt|nigg")
_log = logging.getLogger(__name__)


def read_file(path: Path, intent: str, *, keep_rude: bool = False) -> list[Utterance]:
    """The sentences of one file, normalised, with located entities."""
    data = read_json(path, latin1=True)
    if not isinstance(data, dict) or not isinstance(data.get(intent), list):
        raise UserError(f"{path}:1: no list {intent!r} in it; fetch the file again")
    utterances, lost, rude = [], 0, 0
    part = "train" if path.name.startswith("train") else "validate"
    for number, item in enumerate(data[intent], 1):
        text, spans = "", []
        try:
            for chunk in item["data"]:
                start, text = len(text), text + chunk["text"]
                if "entity" in chunk:
                    spans.append((start, len(text), chunk["entity"]))
        except (KeyError, TypeError):
            raise UserError(
                f"{path}: sentence {number} of {intent} is not a list of chunks with "
                "`text`; fetch the file again"
            ) from None
        normal, entities, missed = locate(text, spans)
        lost += missed
        if not keep_rude and RUDE.search(normal):
            rude += 1
        elif normal:
            key = f"snips-{intent.lower()}-{part}-{number:05d}"
            spoken = spell_out(text, normal)
            utterances.append(
                Utterance(key, normal, entities=tuple(entities), spoken=spoken)
            )
    if lost or rude:
        _log.warning("%s: left out %d rude sentences and %d entities not on words",
                     path, rude, lost)  # fmt: skip
    return utterances


def read_snips(
    source: Path,
    intents: Sequence[str] = INTENTS,
    *,
    keep_rude: bool = False,
    sizes: tuple[int, int] | None = None,
) -> dict[str, list[Utterance]]:
    """Adaptation text from the training files; validation halved into dev and test.

    Adaptation lines that hold a dev or test sentence are dropped.

    Args:
        source: a folder above the intents'.
        intents: which to read.
        keep_rude: keep sentences with swear words.
        sizes: of dev and test, filled up from the training files.
    """
    train: list[Utterance] = []
    evaluation: list[Utterance] = []
    for intent in intents:
        for name, into in (
            (f"train_{intent}_full.json", train),
            (f"validate_{intent}.json", evaluation),
        ):
            paths = sorted(source.rglob(f"{intent}/{name}"))
            if not paths:
                raise UserError(
                    f"{source}: no {intent}/{name} below it; set SNIPS (db.sh) to the "
                    "folder 2017-06-custom-intent-engines"
                )
            into.extend(read_file(paths[0], intent, keep_rude=keep_rude))
    evaluation = unique(evaluation)
    if sizes and (wanted := sum(sizes) - len(evaluation)) > 0:
        evaluation += sample(others(unique(train), evaluation), wanted)
    if sizes:
        test = sample(evaluation, sizes[1])
        kept = {utterance.id for utterance in test}
        rest = [utterance for utterance in evaluation if utterance.id not in kept]
        dev = sample(rest, sizes[0])
    else:
        test, dev = hold_out(evaluation, 0.5)
    return domain_sets(unique(train), dev, test)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the reader's own options."""
    add_sizes(parser)
    parser.add_argument("--intents", nargs="+", default=INTENTS, help="default: music")
    parser.add_argument("--keep_rude", action="store_true", help="keep rude sentences")


def read(args: argparse.Namespace) -> dict[str, list[Utterance]]:
    """The corpus as the options say."""
    source = find_source(args.source, VARIABLE)
    return read_snips(source, args.intents, keep_rude=args.keep_rude, sizes=args.sizes)

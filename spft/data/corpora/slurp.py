"""SLURP: ``dataset/slurp/{train,devel,test}.jsonl``, audio in ``slurp_real/``."""

import argparse
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from spft.data.corpora import add_sizes, find_source
from spft.data.corpora.files import read_jsonl
from spft.data.spans import locate
from spft.data.split import domain_sets, hold_out, others, sample, unique
from spft.data.utterance import Utterance
from spft.errors import UserError

VARIABLE = "SLURP"
DOMAIN = "slurp"
HELP = "what users say to an assistant"
_log = logging.getLogger(__name__)


def read_file(path: Path, audio: Path | None = None) -> list[Utterance]:
    """The sentences of one file, each with one recording if ``audio`` is a folder.

    Raises:
        UserError: malformed line, or none of a sentence's recordings is there.
    """
    utterances, lost = [], 0
    keys = ("slurp_id", "sentence", "tokens", "entities", "recordings")
    for where, row in read_jsonl(path, keys):
        try:
            spans = list(_spans(row))
            names = [recording["file"] for recording in row["recordings"]]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise UserError(
                f"{where}: entity or token not understood ({error!r}); fetch the file "
                "again"
            ) from None
        text, entities, missed = locate(row["sentence"], spans)
        lost += missed + len(row["entities"]) - len(spans)
        if text:
            key = f"slurp-{path.stem}-{int(row['slurp_id']):06d}"
            file = _recording(names, audio, where) if audio else None
            speaker = key if file else None
            utterances.append(Utterance(key, text, speaker, file, tuple(entities)))
    if lost:
        _log.warning("%s: %d entities not on words are left out", path, lost)
    return unique(utterances)


def _spans(row: dict) -> Iterator[tuple[int, int, str]]:
    """Character spans of the entities, which are given as lists of token numbers."""
    places, position = [], 0
    for token in row["tokens"]:
        start = row["sentence"].lower().find(token["surface"].lower(), position)
        if start >= 0:
            position = start + len(token["surface"])
        places.append((start, position))
    for entity in row["entities"]:
        first, last = min(entity["span"]), max(entity["span"])
        if places[first][0] >= 0 and places[last][0] >= 0:
            yield places[first][0], places[last][1], entity["type"]


def _recording(names: list[str], audio: Path, where: str) -> Path:
    """A close-talk recording if there is one, otherwise any."""
    for name in sorted(names, key=lambda name: "headset" not in name):
        for file in (audio / "slurp_real" / name, audio / name):
            if file.is_file():
                return file
    raise UserError(
        f"{where}: text without audio: none of its {len(names)} recordings is in "
        f"{audio}; set SLURP_AUDIO (db.sh) to the unpacked slurp_real"
    )


def read_slurp(
    source: Path,
    audio: Path | None = None,
    sizes: tuple[int | None, int | None] = (None, None),
) -> dict[str, list[Utterance]]:
    """Adaptation text from train.jsonl, dev from devel.jsonl, test from test.jsonl.

    Without train.jsonl, four fifths of devel.jsonl become the adaptation text.
    """
    folder = next((p.parent for p in sorted(source.rglob("devel.jsonl"))), None)
    if folder is None:
        raise UserError(
            f"{source}: no devel.jsonl below it; set SLURP (db.sh) to the folder slurp"
        )
    if (folder / "train.jsonl").exists():
        train = read_file(folder / "train.jsonl")
        dev = read_file(folder / "devel.jsonl", audio)
    else:
        _log.warning(
            "%s: no train.jsonl; adaptation text is 4/5 of devel.jsonl", folder
        )
        train, dev = hold_out(read_file(folder / "devel.jsonl", audio), 0.2, "dev ")
        train = [Utterance(u.id, u.text, entities=u.entities) for u in train]
    test = sample(read_file(folder / "test.jsonl", audio), sizes[1])
    dev = sample(others(dev, test), sizes[0])
    return domain_sets(train, dev, test)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the reader's own options."""
    add_sizes(parser)
    parser.add_argument(
        "--audio", help="folder of slurp_real; default: SLURP_AUDIO; neither: text only"
    )


def read(args: argparse.Namespace) -> dict[str, list[Utterance]]:
    """The corpus as the options say."""
    folder = args.audio or os.environ.get("SLURP_AUDIO")
    audio = find_source(folder, "SLURP_AUDIO") if folder else None
    source = find_source(args.source, VARIABLE)
    return read_slurp(source, audio, args.sizes or (None, None))

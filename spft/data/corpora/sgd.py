"""Schema-Guided Dialogue: user turns with character spans of slots.

Layout: ``train|dev|test/dialogues_NNN.json``; numbered files may be missing.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from spft.data.corpora import add_sizes, find_source
from spft.data.corpora.files import read_json
from spft.data.normalize import spell_out
from spft.data.spans import locate
from spft.data.split import domain_sets, others, sample, unique
from spft.data.utterance import Utterance
from spft.errors import UserError

VARIABLE = "SGD"
DOMAIN = "chatbot"
HELP = "what users say to a chatbot"
_log = logging.getLogger(__name__)


def read_part(folder: Path, services: Sequence[str] = ()) -> list[Utterance]:
    """The user turns below ``folder``, normalised, with located entities.

    Args:
        folder: ``train``, ``dev`` or ``test``.
        services: beginnings of service names (``Restaurants``); empty: all.
    """
    paths = sorted(folder.glob("dialogues_*.json"))
    if not paths:
        raise UserError(
            f"{folder}: no dialogues_*.json in it; set SGD (db.sh) to the folder that "
            "holds train, dev and test"
        )
    utterances, lost = [], 0
    for path in tqdm(paths, desc=f"sgd {folder.name}"):
        for dialogue in read_json(path):
            try:
                of_services = any(
                    name.startswith(tuple(services)) for name in dialogue["services"]
                )
                turns = _user_turns(dialogue) if of_services or not services else []
            except (KeyError, TypeError) as error:
                raise UserError(
                    f"{path}: dialogue {dialogue.get('dialogue_id', '?')!r} lacks "
                    f"{error}; fetch the file again"
                ) from None
            for key, written, spans in turns:
                text, entities, missed = locate(written, spans)
                lost += missed
                if text:
                    key, spoken = f"sgd-{folder.name}-{key}", spell_out(written, text)
                    utterances.append(
                        Utterance(key, text, entities=tuple(entities), spoken=spoken)
                    )
    if lost:
        _log.warning("%s: %d entities not on words are left out", folder, lost)
    return utterances


def _user_turns(dialogue: dict) -> list[tuple[str, str, list[tuple[int, int, str]]]]:
    """Name, text and spans of slots (characters) of what the user says."""
    return [
        (
            f"{dialogue['dialogue_id']}-{number:02d}",
            turn["utterance"],
            [
                (slot["start"], slot["exclusive_end"], slot["slot"])
                for frame in turn["frames"]
                for slot in frame["slots"]
                if "start" in slot
            ],
        )
        for number, turn in enumerate(dialogue["turns"])
        if turn["speaker"] == "USER"
    ]


def read_sgd(
    source: Path,
    services: Sequence[str] = (),
    sizes: tuple[int | None, int | None] = (None, None),
) -> dict[str, list[Utterance]]:
    """Adaptation text from train; dev and test are the turns that hold an entity.

    Turns without entities (``yes, that's right``) recur in every dialogue; as test
    sentences they would measure nothing and take their like out of adaptation text.
    ``sizes`` are the most of dev and test, None for all.
    """
    parts = {
        name: read_part(source / name, services) for name in ("train", "dev", "test")
    }
    dev, test = (
        unique(u for u in parts[name] if u.entities) for name in ("dev", "test")
    )
    test = sample(test, sizes[1])
    dev = sample(others(dev, test), sizes[0])
    return domain_sets(unique(parts["train"]), dev, test)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the reader's own options."""
    add_sizes(parser)
    parser.add_argument(
        "--services", nargs="+", default=[], help="beginnings of names; default: all"
    )


def read(args: argparse.Namespace) -> dict[str, list[Utterance]]:
    """The corpus as the options say."""
    source = find_source(args.source, VARIABLE)
    return read_sgd(source, args.services, args.sizes or (None, None))

"""Picovoice speech-to-intent: coffee orders with slot values but no transcripts.

Layout: ``data/label/label.json``, ``data/speech/clean/<stem>.{flac,wav}`` and the
domain text ``data/watson/corpus.txt``.
"""

import argparse
from pathlib import Path

from spft.data.corpora import find_source
from spft.data.corpora.files import find_audio, read_json
from spft.data.entities import Entity
from spft.data.normalize import normalize
from spft.data.split import domain_sets, hold_out, unique
from spft.data.table import read_lines
from spft.data.utterance import Utterance
from spft.errors import UserError

VARIABLE = "SPEECH_TO_INTENT"
DOMAIN = "barista"
HELP = "coffee orders, with slot values and without transcripts"


def read_orders(data: Path) -> list[Utterance]:
    """The spoken orders; entities have values only, speakers are unknown.

    Raises:
        UserError: malformed labels or an order without audio.
    """
    path = data / "label" / "label.json"
    labels = read_json(path)
    if not isinstance(labels, dict):
        raise UserError(f"{path}:1: not an object keyed by file; fetch it again")
    lines = read_lines(path)
    utterances = []
    for name, label in sorted(labels.items()):
        line = next((i for i, text in enumerate(lines, 1) if name in text), 1)
        where, stem = f"{path}:{line}", Path(name).stem
        slots = label.get("slots") if isinstance(label, dict) else None
        if not isinstance(slots, dict):
            raise UserError(f"{where}: {name!r} has no slots; fetch the file again")
        audio = find_audio(data / "speech" / "clean" / stem)
        if audio is None:
            raise UserError(
                f"{where}: label without audio: no {stem}.flac or .wav in "
                f"{data}/speech/clean; fetch the corpus again"
            )
        entities = [Entity(kind, normalize(str(v))) for kind, v in slots.items() if v]
        utterances.append(Utterance(stem, None, stem, audio, tuple(entities)))
    return utterances


def read_speech_to_intent(source: Path) -> dict[str, list[Utterance]]:
    """Adaptation text from the sample orders; a quarter of the audio is dev."""
    label = next(iter(sorted(source.rglob("data/label/label.json"))), None)
    if label is None:
        raise UserError(
            f"{source}: no data/label/label.json below it; set SPEECH_TO_INTENT (db.sh)"
            " to the clone of speech-to-intent-benchmark"
        )
    data = label.parent.parent
    texts = [normalize(line) for line in read_lines(data / "watson" / "corpus.txt")]
    sentences = [
        Utterance(f"barista-{number:04d}", text, entities=())
        for number, text in enumerate(texts, 1)
        if text
    ]
    test, dev = hold_out(read_orders(data), 0.25)
    return domain_sets(unique(sentences), dev, test)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the reader's own options, of which there are none."""


def read(args: argparse.Namespace) -> dict[str, list[Utterance]]:
    """The corpus as the options say."""
    return read_speech_to_intent(find_source(args.source, VARIABLE))

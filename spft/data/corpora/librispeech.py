"""LibriSpeech in its official layout: ``<subset>/<speaker>/<chapter>/*.trans.txt``."""

import argparse
from collections.abc import Collection
from pathlib import Path

from spft.data.corpora import find_source
from spft.data.corpora.files import files_in, find_audio
from spft.data.normalize import normalize
from spft.data.table import read_lines
from spft.data.utterance import Utterance
from spft.errors import UserError

VARIABLE = "LIBRISPEECH"
DOMAIN = "librispeech"
HELP = "paired speech of books"
# Held-out readers of dev-clean, a woman and a man each, with which no book occurs in
# two of train, dev and test. For a source that holds only dev-clean.
DEV_SPEAKERS = ("84", "174")
TEST_SPEAKERS = ("1272", "1462")
EVALUATION = {"test-clean", "test-other", "dev-other"}


def read_librispeech(source: Path) -> list[Utterance]:
    """All utterances below ``source`` but those of LibriSpeech's own evaluation sets.

    The subsets ``test-clean``, ``test-other`` and ``dev-other`` below it are left
    alone: no training may see them. ``dev-clean`` is read, for its readers are split.

    Raises:
        UserError: nothing found, a malformed line, or a transcript without audio.
    """
    utterances = []
    for path in files_in(source):
        if not path.name.endswith(".trans.txt"):
            continue
        if EVALUATION & set(path.relative_to(source).parts):
            continue
        for number, line in enumerate(read_lines(path), 1):
            name, _, words = line.strip().partition(" ")
            where = f"{path}:{number}"
            if not words or name.count("-") != 2:
                raise UserError(
                    f"{where}: not `speaker-chapter-number WORDS`; fetch the file again"
                )
            audio = find_audio(path.with_name(name))
            if audio is None:
                raise UserError(
                    f"{where}: text without audio: no {name}.flac, .mp3 or the like "
                    "beside it; unpack the archive again"
                )
            speaker = name.split("-")[0]
            utterances.append(Utterance(name, normalize(words), speaker, audio))
    if not utterances:
        raise UserError(
            f"{source}: no *.trans.txt below it; set LIBRISPEECH (db.sh) to the folder "
            "that holds LibriSpeech/dev-clean and the like"
        )
    return utterances


def split_speakers(
    utterances: list[Utterance], dev: Collection[str], test: Collection[str]
) -> dict[str, list[Utterance]]:
    """Split into train, dev and test without a shared speaker.

    Raises:
        UserError: a speaker who is in both, or in neither.
    """
    if both := set(dev) & set(test):
        raise UserError(
            f"speakers in both dev and test: {' '.join(sorted(both))}; name each once"
        )
    known = {utterance.speaker for utterance in utterances}
    if missing := (set(dev) | set(test)) - known:
        raise UserError(
            f"speakers not in the corpus: {' '.join(sorted(missing))} (by default "
            "some of dev-clean: fetch that into the same folder; others by "
            "--dev_speakers and --test_speakers of spft.bin.prepare_data, of: "
            + " ".join(sorted(known)[:40])
            + ")"
        )
    part = {**dict.fromkeys(dev, "dev"), **dict.fromkeys(test, "test")}
    sets: dict[str, list[Utterance]] = {"train": [], "dev": [], "test": []}
    for utterance in utterances:
        sets[part.get(utterance.speaker, "train")].append(utterance)
    return sets


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the reader's own options."""
    for name in ("dev", "test"):
        parser.add_argument(
            f"--{name}_speakers",
            nargs="+",
            metavar="ID",
            help=f"held out for {name}; default: two readers of dev-clean",
        )


def read(args: argparse.Namespace) -> dict[str, list[Utterance]]:
    """The corpus as the options say."""
    return split_speakers(
        read_librispeech(find_source(args.source, VARIABLE)),
        args.dev_speakers or DEV_SPEAKERS,
        args.test_speakers or TEST_SPEAKERS,
    )

"""Text that teaches a baseline's decoder: WordNet's examples, and transcripts."""

import argparse
import logging
import os
from pathlib import Path

from spft.data.corpora import find_source
from spft.data.corpora.wordnet import read_wordnet
from spft.data.split import cover, hold_out, unique
from spft.data.table import read_table
from spft.data.utterance import Utterance
from spft.errors import UserError

VARIABLE = "WORDNET"  # may be unset
DOMAIN = "general"
HELP = "text that teaches the baseline's decoder"
MAX_SPOKEN = 20  # words of a sentence that is to be synthesised


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the reader's own options."""
    parser.add_argument(
        "--paired", type=Path, required=True, help="its transcripts are used too"
    )
    parser.add_argument(
        "--spoken",
        type=int,
        default=0,
        help="so many of WordNet's sentences, those with the most different words, "
        "also into a set to be synthesised",
    )


def read(args: argparse.Namespace) -> dict[str, list[Utterance]]:
    """WordNet's examples, where there are any, and the transcripts of paired data."""
    texts = read_table(args.paired / "text")
    utterances = [Utterance(f"paired-{key}", text) for key, text in texts.items()]
    if args.source or os.environ.get(VARIABLE):
        utterances += read_wordnet(find_source(args.source, VARIABLE))
    elif args.spoken:
        raise UserError(
            "--spoken speaks WordNet's sentences; set WORDNET (tools/db.sh)"
        )
    else:
        logging.info("WORDNET (tools/db.sh) is not set: transcripts are all the text")
    train, dev = hold_out(unique(utterances), 0.02)
    sets = {"text/train": train, "text/dev": dev}
    if args.spoken:
        short = [
            sentence
            for sentence in train
            if sentence.id.startswith("wordnet-")
            and len(sentence.text.split()) <= MAX_SPOKEN
        ]
        sets["spoken"] = cover(short, args.spoken)
    return sets

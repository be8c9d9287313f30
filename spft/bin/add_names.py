"""Text for the n-gram of a domain: its own, and a sentence for each listed name.

    python -m spft.bin.add_names --text data/music_text/train --out data/music_text/lm \
        --not-in data/music_dev data/music_test

The list is ``names.txt`` beside the text: a name a line, a tab before its type if it
has one. See :mod:`spft.data.slots`.
"""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

from spft.errors import UserError, run


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--text", required=True, type=Path, help="Kaldi directory of the domain's text")
    add("--out", required=True, type=Path, help="directory to write")
    add(
        "--not-in",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="dev and test sets, whose sentences are not made",
    )
    return parser


def main() -> None:
    """Read, make and write."""
    from spft.data.entities import Entity
    from spft.data.kaldi import read_data_dir, write_data_dir
    from spft.data.own_domain import Lexicon, read_lexicon
    from spft.data.slots import sentences_of_names
    from spft.data.table import read_table

    args = get_parser().parse_args()
    path = args.text / "names.txt"
    if not path.exists():
        raise UserError(f"{path}: not found; it is the list of names to be added")
    names = list(read_lexicon(path))
    lexicon, text = Lexicon(names), []
    for utterance in read_data_dir(args.text, audio=False):
        if utterance.entities is None:  # nobody said what is a name in it
            found = (Entity(**fields) for fields in lexicon.find(utterance.text))
            utterance = replace(utterance, entities=tuple(found))
        text.append(utterance)
    tables = [d / "text" for d in args.not_in if (d / "text").exists()]
    evaluation = [line for table in tables for line in read_table(table).values()]
    made = sentences_of_names(text, names, evaluation)
    write_data_dir(args.out, [*text, *made])
    shutil.copy(path, args.out)
    print(f"{args.out}: {len(text)} sentences and {len(made)} for names of the list")


if __name__ == "__main__":
    run(main)

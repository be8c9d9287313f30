"""python -m spft.bin.make_corpus egs2/music/asr1/downloads.

Makes ``adapt.jsonl``, ``dev.jsonl`` and ``test.jsonl`` from the authored sentences and
entities in ``source/``; the same sources always give the same files.
"""

import argparse
import json
from pathlib import Path

from spft.errors import UserError, run
from spft.files import atomic_write


def get_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path, help="folder that holds source/")
    return parser


def main() -> None:
    """Make the three files beside ``source/``."""
    args = get_parser().parse_args()
    source = args.corpus / "source"
    if not source.is_dir():
        raise UserError(f"{source}: no such folder; put the authored sources there")
    from spft.data.mini_corpus import make_corpus

    for name, rows in make_corpus(source).items():
        with atomic_write(args.corpus / f"{name}.jsonl") as stream:
            stream.writelines(json.dumps(row) + "\n" for row in rows)
        print(f"{args.corpus / f'{name}.jsonl'}: {len(rows)} sentences")


if __name__ == "__main__":
    run(main)

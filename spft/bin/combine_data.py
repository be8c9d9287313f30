"""Put data directories together (Kaldi's ``combine_data.sh``).

python -m spft.bin.combine_data --data data/a data/b --out data/both
"""

import argparse
from pathlib import Path

from spft.errors import UserError, run


def get_parser() -> argparse.ArgumentParser:
    """Build the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", required=True, type=Path, nargs="+", help="data directories")
    add("--out", required=True, type=Path, help="data directory to write")
    return parser


def main() -> None:
    """Run the command."""
    args = get_parser().parse_args()
    from spft.data.kaldi import read_data_dir, write_data_dir

    found: dict[str, Path] = {}
    utterances = []
    for folder in args.data:
        for utterance in read_data_dir(folder):
            if utterance.id in found:
                raise UserError(
                    f"{folder}: {utterance.id!r} is also in {found[utterance.id]}; "
                    "rename it in one of them"
                )
            found[utterance.id] = folder
            utterances.append(utterance)
    write_data_dir(args.out, utterances)
    print(f"{args.out}: {len(utterances)} utterances")


if __name__ == "__main__":
    run(main)

"""Put data directories together (Kaldi's ``combine_data.sh``).

python -m spft.bin.combine_data --data data/a data/b --out data/both
"""

import argparse
from pathlib import Path

from spft.errors import UserError, run
from spft.files import atomic_write


def get_parser() -> argparse.ArgumentParser:
    """Build the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", required=True, type=Path, nargs="+", help="data directories")
    add("--out", required=True, type=Path, help="data directory to write")
    add("--dump", type=Path, help="also the features that stage 2 made of them")
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
    if args.dump:
        combine_features(
            [args.dump / d.name for d in args.data], args.dump / args.out.name
        )
    print(f"{args.out}: {len(utterances)} utterances")


def combine_features(folders: list[Path], out: Path) -> None:
    """Put the indices of features together; the features stay where they are."""
    for name in ("feats.scp", "utt2num_frames", "first_pass"):
        lines = []
        for folder in folders:
            if not (folder / name).exists():
                break  # speech of which stage 2 makes no features
            lines += (folder / name).read_text(encoding="utf-8").splitlines()
        else:
            with atomic_write(out / name) as stream:
                stream.writelines(f"{line}\n" for line in sorted(lines))


if __name__ == "__main__":
    run(main)

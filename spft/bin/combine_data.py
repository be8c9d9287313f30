"""Put data directories together (Kaldi's ``combine_data.sh``).

    python -m spft.bin.combine_data --data data/a data/b --out data/both

With ``--max_cer``, what the encoder's decoder understood worse is left out: from such
speech the LLM would learn to guess instead of to read.
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
    add("--dump", type=Path, help="also the features that stage 2 made of them")
    add(
        "--max_cer",
        type=float,
        help="most character error rate of the first pass, with --dump",
    )
    return parser


def main() -> None:
    """Run the command."""
    args = get_parser().parse_args()
    if args.max_cer is not None and not args.dump:
        raise UserError("--max_cer: add --dump, where the first passes are")
    from spft.data.features import combine_features
    from spft.data.kaldi import read_data_dir, write_data_dir

    origin: dict[str, Path] = {}
    utterances = []
    left_out = 0
    for folder in args.data:
        rates = {}
        if args.max_cer is not None:
            rates = first_pass_errors(folder, args.dump / folder.name)
        for utterance in read_data_dir(folder):
            if rates.get(utterance.id, 0) > (args.max_cer or 0):
                left_out += 1
                continue
            if utterance.id in origin:
                raise UserError(
                    f"{folder}: {utterance.id!r} is also in {origin[utterance.id]}; "
                    "rename it in one of them"
                )
            origin[utterance.id] = folder
            utterances.append(utterance)
    write_data_dir(args.out, utterances)
    if args.dump:
        folders = [args.dump / folder.name for folder in args.data]
        combine_features(folders, args.dump / args.out.name, origin.keys())
    print(f"{args.out}: {len(utterances)} utterances, {left_out} left out")


def first_pass_errors(data: Path, dump: Path) -> dict[str, float]:
    """Letter error rate of each utterance's first pass; none if there is no pass."""
    import jiwer

    from spft.data.features import read_first_passes

    if not (dump / "first_pass").exists():
        return {}
    pairs = read_first_passes(data, dump)
    return {u: jiwer.cer(text, written) for u, text, written in pairs}


if __name__ == "__main__":
    run(main)

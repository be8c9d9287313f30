"""Learn how the first pass misspells, from speech with transcripts.

    python -m spft.bin.learn_confusions --data data/baseline_train \
        --out exp/confusions.json

The speech should be such as the encoder's decoder was not trained on, or it errs too
little. The table tells ``adapt: noisy_text`` how to misspell text
(``adapt_conf: confusions``).
"""

import argparse
from pathlib import Path

from spft.errors import run


def get_parser() -> argparse.ArgumentParser:
    """Build the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", required=True, type=Path, nargs="+", help="data directories")
    add("--dump", type=Path, default=Path("dump"), help="first passes of stage 2")
    add("--out", required=True, type=Path, help="JSON to write")
    return parser


def main() -> None:
    """Run the command."""
    args = get_parser().parse_args()
    import jiwer

    from spft.adapt.confusions import Confusions
    from spft.data.features import read_first_passes

    pairs = [
        (text, written)
        for folder in args.data
        for _, text, written in read_first_passes(folder, args.dump / folder.name)
    ]
    confusions = Confusions.learn(pairs)
    confusions.write(args.out)
    rate = jiwer.cer(*map(list, zip(*pairs, strict=True)))
    print(f"{args.out}: character error rate {rate:.3f}, "
          f"{len(confusions.written)} kinds of errors")  # fmt: skip


if __name__ == "__main__":
    run(main)

"""Copy a trained stage for shipping, in bfloat16.

    python -m spft.bin.export exp/baseline egs2/librispeech/asr1/baseline

Writes ``config.yaml`` and ``model.safetensors`` (half the size).
"""

import argparse
import shutil
from pathlib import Path

from spft.errors import run
from spft.files import atomic_write


def get_parser() -> argparse.ArgumentParser:
    """Build the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="experiment folder")
    parser.add_argument("out", type=Path, help="folder to write")
    return parser


def main() -> None:
    """Run the command."""
    args = get_parser().parse_args()
    import torch

    from spft.checkpoint import read_config, read_weights, write_weights

    read_config(args.source)
    path = write_weights(args.out, read_weights(args.source), torch.bfloat16)
    with atomic_write(args.out / "config.yaml") as stream:
        stream.write((args.source / "config.yaml").read_text(encoding="utf-8"))
    # How the old one's first pass misspells would be wrong beside these weights.
    (args.out / "confusions.json").unlink(missing_ok=True)
    if (args.source / "confusions.json").exists():
        shutil.copy(args.source / "confusions.json", args.out)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run(main)

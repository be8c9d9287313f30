"""Estimate an n-gram: python -m spft.bin.train_ngram --text T --out exp/music/ngram.

Interpolated modified Kneser-Ney over the LLM's tokens, into ``DIR/ngram.arpa``: by
KenLM's lmplz where that is on PATH, else by spft.search.kneser_ney; both give the same
model.
"""

import argparse
import shutil
import subprocess
from pathlib import Path

from spft.errors import UserError, run


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--text", required=True, help="Kaldi text to train on")
    add("--tokenizer", default="smollm2-135m", help="LLM: short name or folder")
    add("--out", required=True, type=Path, help="directory to write")
    # KenLM's Python module is compiled for orders up to 6.
    add("--order", type=int, default=3, choices=range(2, 7), help="longest n-gram")
    add("--estimator", choices=("auto", "lmplz", "python"), default="auto")
    return parser


def main() -> None:
    """Estimate and write the model."""
    from spft.data.tokens import encode_text, load_encoder
    from spft.search.kneser_ney import estimate, write_arpa

    args = get_parser().parse_args()
    encoded = encode_text(args.text, load_encoder(args.tokenizer))
    sentences = [[str(token) for token in ids] for ids in encoded.values()]
    path = args.out / "ngram.arpa"
    lmplz = shutil.which("lmplz")
    if args.estimator == "lmplz" and not lmplz:
        raise UserError("lmplz: not on PATH; install KenLM or use --estimator python")
    if lmplz and args.estimator != "python":
        run_lmplz(lmplz, sentences, args.order, path)
    else:
        write_arpa(path, *estimate(sentences, args.order))
    print(f"{path}: order {args.order}, {len(sentences)} sentences")


def run_lmplz(
    lmplz: str, sentences: list[list[str]], order: int, path: str | Path
) -> None:
    """Have KenLM estimate the model."""
    from spft.files import atomic_write

    result = subprocess.run(
        [lmplz, "--order", str(order), "--discount_fallback", "-S", "1G"],
        input="".join(" ".join(words) + "\n" for words in sentences),
        capture_output=True,
        text=True,
    )
    if result.returncode:
        raise UserError(f"lmplz failed: {result.stderr.strip().splitlines()[-1]}")
    with atomic_write(path) as stream:
        stream.write(result.stdout)


if __name__ == "__main__":
    run(main)

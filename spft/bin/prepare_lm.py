"""Text for the external LM: python -m spft.bin.prepare_lm --text T --valid V --out DIR.

Writes what spft.bin.train_lm reads: ``train.txt`` and ``valid.txt`` (utterance id and
ids of LLM tokens), their lengths in ``train_shape`` and ``valid_shape``, and
``tokens.txt``, the tokens that the LM knows.
"""

import argparse
import math
import random
from collections import Counter
from pathlib import Path

from spft.errors import run

# This share of the tokens that occur once is left out of the token list, so that <unk>
# occurs in training as often as it will in other text. Not all: rare tokens are the
# parts of the very names that the LM is to teach.
UNSEEN_SHARE = 0.5


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--text", required=True, help="Kaldi text to train on")
    add("--valid", required=True, help="Kaldi text to validate on")
    add("--tokenizer", default="smollm2-135m", help="LLM: short name or folder")
    add("--out", required=True, type=Path, help="directory to write")
    add("--seed", type=int, default=0, help="which rare tokens stand for the unseen")
    return parser


def main() -> None:
    """Write the LM's data directory."""
    from spft.data.tokens import encode_text, load_encoder

    args = get_parser().parse_args()
    encode = load_encoder(args.tokenizer)
    train, valid = encode_text(args.text, encode), encode_text(args.valid, encode)
    tokens = choose_tokens(train, args.seed)
    write_data(args.out, train, valid, tokens)
    count = sum(len(ids) for ids in train.values())
    print(f"{args.out}: {len(train)} sentences, {count} tokens, {len(tokens)} kinds")


def choose_tokens(sentences: dict[str, list[int]], seed: int) -> list[int]:
    """The token ids that the LM is to know, sorted."""
    counts = Counter(token for ids in sentences.values() for token in ids)
    rare = sorted(token for token, count in counts.items() if count == 1)
    unseen = random.Random(seed).sample(rare, math.ceil(UNSEEN_SHARE * len(rare)))
    return sorted(counts.keys() - set(unseen))


def write_data(
    out: Path,
    train: dict[str, list[int]],
    valid: dict[str, list[int]],
    tokens: list[int],
) -> None:
    """Write the files named in the module's docstring."""
    from spft.data.table import write_table
    from spft.files import atomic_write

    known = set(tokens)
    for name, sentences in (("train", train), ("valid", valid)):
        words = {
            key: " ".join(str(i) if i in known else "<unk>" for i in ids)
            for key, ids in sentences.items()
        }
        write_table(out / f"{name}.txt", words)
        lengths = {key: str(len(ids)) for key, ids in sentences.items()}
        write_table(out / f"{name}_shape", lengths)
    with atomic_write(out / "tokens.txt") as stream:
        for token in ("<blank>", "<unk>", *tokens, "<sos/eos>"):
            stream.write(f"{token}\n")


if __name__ == "__main__":
    run(main)

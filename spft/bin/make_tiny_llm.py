"""Make the LLM of the tiny preset: a small random LLaMA with its own tokenizer.

    python -m spft.bin.make_tiny_llm --text data/x/text --out exp/tiny/llm

The tokenizer is SentencePiece, trained on the texts. For tests: it takes seconds, knows
no language, and goes the same way through the recipe as a real LLM.
"""

import argparse
import tempfile
from pathlib import Path

from spft.errors import run


def get_parser() -> argparse.ArgumentParser:
    """Build the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", required=True, nargs="+", help="Kaldi texts")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--vocab", type=int, default=300)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    return parser


def main() -> None:
    """Run the command."""
    make(get_parser().parse_args())


def make(args: argparse.Namespace) -> None:
    """Write model and tokenizer to ``args.out``."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    tokenizer = train_tokenizer(args.text, args.vocab)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=args.width,
        intermediate_size=2 * args.width,
        num_hidden_layers=args.layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)


def train_tokenizer(paths: list[str], vocab: int):
    """Train SentencePiece on Kaldi texts; return it as a transformers tokenizer."""
    import sentencepiece
    from transformers import LlamaTokenizer

    from spft.data.table import read_table

    lines = [line for path in paths for line in read_table(path).values()]
    with tempfile.TemporaryDirectory() as folder:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_prefix=f"{folder}/tokenizer",
            vocab_size=vocab,
            model_type="bpe",
            hard_vocab_limit=False,
            minloglevel=2,
        )
        return LlamaTokenizer.from_pretrained(
            folder, vocab_file=f"{folder}/tokenizer.model"
        )


if __name__ == "__main__":
    run(main)

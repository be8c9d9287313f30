"""Sentences as the recogniser's tokens, for the LMs that are fused with it."""

from collections.abc import Callable
from pathlib import Path

from spft.data.table import read_table
from spft.errors import UserError


def load_encoder(tokenizer: str) -> Callable[[str], list[int]]:
    """The recogniser's own way from text to token ids."""
    from transformers import AutoTokenizer

    from spft.pretrained import resolve

    try:
        loaded = AutoTokenizer.from_pretrained(resolve(tokenizer))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{tokenizer}: no tokenizer ({str(error).splitlines()[0]}); "
            "give the LLM's folder"
        ) from error
    return lambda text: loaded(text, add_special_tokens=False)["input_ids"]


def encode_text(
    path: str | Path, encode: Callable[[str], list[int]]
) -> dict[str, list[int]]:
    """Token ids of each sentence of a Kaldi text."""
    table = read_table(path)
    if not table:
        raise UserError(f"{path}:1: empty file; there is no sentence in it")
    return {key: encode(text) for key, text in table.items()}

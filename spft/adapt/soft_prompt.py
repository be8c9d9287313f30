"""The soft prompt: a pseudo audio embedding learned on text (arXiv 2412.06967)."""

import torch
from torch import Tensor, nn

from spft.adapt.abs_adapt import AbsAdapt
from spft.errors import UserError
from spft.llm import LLM
from spft.prefix import Prefix

INITS = ("vocab", "normal", "text")


class SoftPrompt(AbsAdapt):
    """``d`` trainable vectors that every sentence of the domain stands under.

    Args:
        llm: gives the width and the embeddings to start from.
        length: number d of vectors; the paper's best is 30 for short utterances (music)
            and 50 for longer ones (chatbot).
        init: ``vocab``, embeddings of d tokens drawn at random; ``normal``, random with
            the scale of the embeddings; ``text``, the embeddings of ``init_text``,
            repeated to d vectors.
        init_text: text for ``init: text``.
        hidden_size: inner width of an MLP that the vectors go through, residual as in
            arXiv 2305.03937; 0: the vectors are learned as they are. The MLP adds
            nothing at the start, so that ``init`` holds.
    """

    def __init__(
        self,
        llm: LLM,
        length: int,
        init: str = "vocab",
        init_text: str = "",
        hidden_size: int = 0,
    ):
        super().__init__(llm)
        if length < 1:
            raise UserError(f"adapt_conf: length must be at least 1, not {length}")
        if init not in INITS:
            raise UserError(f"adapt_conf: init must be one of {INITS}, not {init!r}")
        if (init == "text") != bool(init_text):
            raise UserError(
                "adapt_conf: init_text goes with init: text, and only there"
            )
        table = llm.embedding_table()
        if init == "vocab":
            start = table[torch.randint(len(table), (length,))]
        elif init == "normal":
            start = torch.randn(length, llm.width) * table.std()
        else:
            tokens = llm.encode(init_text)
            start = table[(tokens * length)[:length]]
        self.embeds = nn.Parameter(start.clone())
        self.mlp = None
        if hidden_size:
            inner = nn.Linear(llm.width, hidden_size)
            outer = nn.Linear(hidden_size, llm.width)
            nn.init.zeros_(outer.weight)
            nn.init.zeros_(outer.bias)
            self.mlp = nn.Sequential(inner, nn.ReLU(), outer)

    def forward(self, text: Tensor, lengths: Tensor, llm: LLM) -> Prefix:
        """Return one row of d vectors, shared by all sentences."""
        return self.prefix()

    def prefix(self) -> Prefix:
        """The learned prompt as a prefix of one row."""
        embeds = self.embeds
        if self.mlp is not None:
            embeds = embeds + self.mlp(embeds)
        length = torch.tensor([len(embeds)], device=embeds.device)
        return Prefix(embeds[None], length)

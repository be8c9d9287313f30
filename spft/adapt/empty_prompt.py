"""An empty prompt in place of audio: positions that say nothing (arXiv 2412.06967)."""

import torch
from torch import Tensor

from spft.adapt.abs_adapt import AbsAdapt
from spft.errors import UserError
from spft.llm import LLM
from spft.prefix import Prefix


class EmptyPrompt(AbsAdapt):
    """``length`` blank vectors: the soft prompt's place without what it learns.

    The paper does not say what its empty prompt holds; our choice is
    :meth:`spft.llm.LLM.mean_embedding`.

    Args:
        llm: gives the width of the vectors.
        length: number of vectors.
    """

    def __init__(self, llm: LLM, length: int):
        super().__init__(llm)
        if length < 1:
            raise UserError(f"adapt_conf: length must be at least 1, not {length}")
        self.length = length
        self.register_buffer("blank", llm.mean_embedding(), persistent=False)

    def forward(self, text: Tensor, lengths: Tensor, llm: LLM) -> Prefix:
        """Return one row of blanks, shared by all sentences."""
        embeds = self.blank.expand(1, self.length, -1)
        return Prefix(embeds, torch.tensor([self.length], device=llm.device))

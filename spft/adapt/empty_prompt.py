"""An empty prompt in place of audio: positions that say nothing (arXiv 2412.06967)."""

import torch
from torch import Tensor

from spft.adapt.abs_adapt import AbsAdapt
from spft.errors import UserError
from spft.llm import LLM
from spft.prefix import Prefix


class EmptyPrompt(AbsAdapt):
    """``length`` zero vectors: the soft prompt's place without what it learns.

    The paper does not say what its empty prompt holds; zeros are our choice.

    Args:
        llm: gives the width of the vectors.
        length: number of vectors.
    """

    def __init__(self, llm: LLM, length: int = 30):
        super().__init__(llm)
        if length < 1:
            raise UserError(f"adapt_conf: length must be at least 1, not {length}")
        self.length = length

    def forward(self, text: Tensor, lengths: Tensor, llm: LLM) -> Prefix:
        """Return one row of zeros, shared by all sentences."""
        embeds = torch.zeros(1, self.length, llm.width, device=llm.device)
        return Prefix(embeds, torch.tensor([self.length], device=llm.device))

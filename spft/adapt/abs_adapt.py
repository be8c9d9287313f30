"""A text-adaptation method: what stands before domain text in place of audio."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from spft.llm import LLM
from spft.prefix import Prefix


class AbsAdapt(nn.Module, ABC):
    """Build the prefix of text-only batches; its parameters are what step 1 learns.

    Subclasses take ``(llm, **adapt_conf)``. They must not keep ``llm`` as a submodule.
    """

    def __init__(self, llm: LLM):
        super().__init__()

    @abstractmethod
    def forward(self, text: Tensor, lengths: Tensor, llm: LLM) -> Prefix:
        """Return the prefix for ``text`` (``[B, L]`` token ids, padded with -1)."""


class NoPrompt(AbsAdapt):
    """Plain post-tuning: nothing stands before the text."""

    def forward(self, text: Tensor, lengths: Tensor, llm: LLM) -> Prefix:
        """Return a prefix of no positions."""
        return llm.empty_prefix()

"""The sentence itself, stretched and masked, in place of audio (arXiv 2412.06967)."""

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from spft.adapt.abs_adapt import AbsAdapt
from spft.errors import UserError
from spft.llm import LLM
from spft.prefix import Prefix


class UpsampleMask(AbsAdapt):
    """Each token once or twice, at random; a share of the positions is blank.

    Blank is :meth:`spft.llm.LLM.mean_embedding`.

    Args:
        llm: whose embeddings are used.
        mask: share of the positions to mask; the paper's is a half.
    """

    def __init__(self, llm: LLM, mask: float = 0.5):
        super().__init__(llm)
        if not 0 <= mask <= 1:
            raise UserError(f"adapt_conf: mask is a share, 0 to 1, not {mask}")
        self.mask = mask
        self.register_buffer("blank", llm.mean_embedding(), persistent=False)

    def forward(self, text: Tensor, lengths: Tensor, llm: LLM) -> Prefix:
        """Return one row of embeddings per sentence."""
        rows, generator = [], None
        if not self.training:  # the same each time, or luck would choose the epoch
            generator = torch.Generator().manual_seed(0)
        for tokens, length in zip(text, lengths.tolist(), strict=True):
            repeats = torch.randint(1, 3, (length,), generator=generator)
            tokens = tokens[:length].repeat_interleave(repeats.to(text.device))
            kept = torch.rand(len(tokens), generator=generator) >= self.mask
            kept = kept.to(text.device)[:, None]
            rows.append(llm.embed(tokens).where(kept, self.blank.to(llm.dtype)))
        sizes = torch.tensor([len(row) for row in rows], device=text.device)
        return Prefix(pad_sequence(rows, batch_first=True), sizes)

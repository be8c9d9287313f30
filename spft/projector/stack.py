"""Stack neighbouring frames, then an MLP: the plain projector of speech LLMs."""

import torch
from torch import Tensor, nn

from spft.llm import LLM
from spft.prefix import Prefix
from spft.projector.abs_projector import AbsProjector


class StackProjector(AbsProjector):
    """Concatenate ``stack`` frames and map them by a two-layer MLP.

    Args:
        input_size: width F of encoder frames.
        llm: gives the width of the embeddings.
        stack: frames to one embedding.
        hidden_size: width of the MLP.
    """

    def __init__(
        self, input_size: int, llm: LLM, stack: int = 4, hidden_size: int = 1024
    ):
        super().__init__()
        self.stack = stack
        self.mlp = nn.Sequential(
            nn.LayerNorm(input_size * stack),
            nn.Linear(input_size * stack, hidden_size),
            nn.GELU(),
            nn.Linear(hidden_size, llm.width),
            nn.LayerNorm(llm.width),
        )
        # Start at the scale of the LLM's own embeddings.
        nn.init.constant_(self.mlp[-1].weight, float(llm.embedding_table().std()))

    def forward(
        self,
        frames: Tensor,
        lengths: Tensor,
        llm: LLM,
        texts: list[str] | None = None,
        first_pass: list[str] | None = None,
    ) -> tuple[Prefix, dict[str, Tensor]]:
        """Project ``[B, T, F]`` to ``[B, ⌈T / stack⌉, D]``; zeros fill the last."""
        batch, width, size = frames.shape
        # An encoder's frames of padding are none.
        padding = torch.arange(width, device=frames.device) >= lengths[:, None]
        frames = frames.masked_fill(padding[..., None], 0)
        frames = nn.functional.pad(frames, (0, 0, 0, -width % self.stack))
        stacked = frames.reshape(batch, -1, size * self.stack)
        sizes = lengths.add(self.stack - 1).div(self.stack, rounding_mode="floor")
        return Prefix(self.mlp(stacked), sizes), {}

"""What stands before the text: audio, soft prompt, pseudo audio, or several of them.

Training, search and packing all take a :class:`Prefix`, so that what the decoder is
trained under and what it sees at inference cannot disagree.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Prefix:
    """Embeddings that stand before the text, right-padded.

    Attributes:
        embeds: ``[B, T, D]``, D the width of the LLM's embeddings. In the search,
            equally many hypotheses share each of the B. T may be 0.
        lengths: ``[B]``, valid positions of each row.
    """

    embeds: Tensor
    lengths: Tensor

    @property
    def batch_size(self) -> int:
        return self.embeds.shape[0]

    def left_padded(self) -> tuple[Tensor, Tensor]:
        """Return ``(embeds [B, T, D], mask [B, T])`` with its padding on the left.

        All rows then end in the same column, where the text begins.
        """
        width = self.embeds.shape[1]
        positions = torch.arange(width, device=self.embeds.device)
        index = positions[None, :] - (width - self.lengths)[:, None]
        mask = index >= 0
        index = index.clamp(min=0)[..., None].expand_as(self.embeds)
        return self.embeds.gather(1, index) * mask[..., None], mask

    def expand(self, batch_size: int) -> "Prefix":
        """The same prefix before each of ``batch_size`` sentences."""
        return Prefix(
            self.embeds.expand(batch_size, -1, -1), self.lengths.expand(batch_size)
        )

    @staticmethod
    def concat(first: "Prefix", second: "Prefix") -> "Prefix":
        """``first`` directly followed by ``second``; a batch of 1 is expanded."""
        batch_size = max(first.batch_size, second.batch_size)
        first, second = (
            p if p.batch_size == batch_size else p.expand(batch_size)
            for p in (first, second)
        )
        rows = [
            torch.cat([a[:m], b[:n]])
            for a, m, b, n in zip(
                first.embeds,
                first.lengths.tolist(),
                second.embeds,
                second.lengths.tolist(),
                strict=True,
            )
        ]
        embeds = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return Prefix(embeds, first.lengths + second.lengths)

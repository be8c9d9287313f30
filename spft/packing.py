"""Sentences one after the other in rows without padding between them, for GPUs.

With a small LLM a GPU waits for the launch of kernels rather than for their arithmetic.
One pass over such rows, with a mask, has half as many launches as a prefix's own pass
and then the sentences'; and rows of a few sizes allow to launch a pass's kernels all at
once (:mod:`spft.cuda_graphs`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from spft.prefix import Prefix

ROW = 4096  # positions in a row, about: each is compared with each
GRAIN = 256  # a row's length is a multiple: a few sizes for many batches


@dataclass(frozen=True)
class Packed:
    """R rows of N positions, as the LLM's layers take them.

    Attributes:
        embeds: ``[R, N, D]``; zeros where nothing stands.
        mask: ``[R, 1, N, N]`` bool, true where a position (third) sees another (last).
        positions: ``[R, N]``, of each in its own sequence of prefix and sentence.
        row: ``[M]``, where the sentences' own positions are, in their order.
        column: ``[M]``, likewise.
    """

    embeds: Tensor
    mask: Tensor
    positions: Tensor
    row: Tensor
    column: Tensor


def pack(prefix: Prefix, embeds: Tensor, valid: Tensor) -> Packed:
    """Put sentences and what they stand behind into rows.

    Args:
        prefix: one row each; or one for all, which then opens each row, once.
        embeds: ``[B, L, D]``, of the sentences.
        valid: ``[B, L]`` bool, true where they have a position.
    """
    before, before_valid = prefix.left_padded()
    before = before.to(embeds.dtype)
    is_text = valid
    if prefix.batch_size == len(embeds):
        is_text = torch.cat([torch.zeros_like(before_valid), valid], 1)
        valid = torch.cat([before_valid, valid], 1)
        embeds, shared = torch.cat([before, embeds], 1), before[0, :0]
    else:
        shared = before[0, before_valid[0]]

    sizes, opened = valid.sum(1), len(shared)
    ends = sizes.cumsum(0)
    row = (ends - 1).div(max(1, ROW - opened), rounding_mode="floor")
    row, counts = row.unique_consecutive(return_inverse=True, return_counts=True)[1:]
    starts = ends - sizes
    starts = starts - starts[counts.cumsum(0) - counts][row] + opened  # in their rows

    sentence, index = valid.nonzero().T
    place = (valid.cumsum(1) - 1)[sentence, index]
    row, column = row[sentence], starts[sentence] + place
    width = -(-int(column.max() + 1) // GRAIN) * GRAIN

    rows = embeds.new_zeros(len(counts), width, embeds.shape[-1])
    rows[:, :opened] = shared
    rows[row, column] = embeds[valid]
    owner = torch.full(rows.shape[:2], -1, device=rows.device)  # -1: none
    owner[:, :opened] = 0  # the shared prefix, which all see
    owner[row, column] = sentence + 1
    positions = torch.zeros_like(owner)
    positions[:, :opened] = torch.arange(opened, device=rows.device)
    positions[row, column] = opened + place
    seen = (owner[:, :, None] == owner[:, None]) | (owner == 0)[:, None]
    kept = is_text[valid]
    return Packed(rows, seen.tril()[:, None], positions, row[kept], column[kept])

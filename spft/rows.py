"""Sentences one after the other in rows without padding between them, for GPUs.

With a small LLM a GPU waits for the launch of kernels rather than for their arithmetic.
Under a shared prompt one pass over such rows, with a mask, has half as many launches as
the prompt's own pass and then the sentences'. And rows are of a few sizes, so that a
pass's kernels can be recorded and launched all at once (:mod:`spft.cuda_graphs`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from spft.prefix import Prefix

ROW_POSITIONS = 4096  # about: attention is quadratic in a row's length
GRAIN = 256  # a row's length is a multiple: a few sizes for many batches


@dataclass(frozen=True)
class Rows:
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


def into_rows(prefix: Prefix, embeds: Tensor, valid: Tensor) -> Rows:
    """Put sentences and what they stand behind into rows.

    Args:
        prefix: one row each; or one for all, which then opens each row, once.
        embeds: ``[B, L, D]``, of the sentences.
        valid: ``[B, L]`` bool, true where they have a position.
    """
    before, before_valid = prefix.left_padded()
    before = before.to(embeds.dtype)
    if prefix.batch_size == len(embeds):
        items = torch.cat([before, embeds], 1)
        present = torch.cat([before_valid, valid], 1)
        is_text = torch.cat([torch.zeros_like(before_valid), valid], 1)
        shared, longest = before[0, :0], ROW_POSITIONS // 2  # which repeats nothing
    else:
        items, present, is_text = embeds, valid, valid
        shared, longest = before[0, before_valid[0]], ROW_POSITIONS

    # Item by item [B]: the row that it is in, and the column where it begins.
    sizes, opened = present.sum(1), len(shared)
    ends = sizes.cumsum(0)
    full = (ends - 1).div(max(1, longest - opened), rounding_mode="floor")
    _, row_of, counts = full.unique_consecutive(return_inverse=True, return_counts=True)
    begins = ends - sizes
    begins_row = begins[counts.cumsum(0) - counts]
    begins = begins - begins_row[row_of] + opened

    # Position by position, items in order.
    item, index = present.nonzero().T
    place = (present.cumsum(1) - 1)[item, index]
    row, column = row_of[item], begins[item] + place

    width = -(-int(column.max() + 1) // GRAIN) * GRAIN
    rows = embeds.new_zeros(len(counts), width, embeds.shape[-1])
    rows[:, :opened] = shared
    rows[row, column] = items[present]
    owner = torch.full(rows.shape[:2], -1, device=rows.device)  # -1: none
    owner[:, :opened] = 0  # the shared prefix, which all see
    owner[row, column] = item + 1
    positions = torch.zeros_like(owner)
    positions[:, :opened] = torch.arange(opened, device=rows.device)
    positions[row, column] = opened + place
    seen = (owner[:, :, None] == owner[:, None]) | (owner == 0)[:, None]
    text = is_text[present]
    return Rows(rows, seen.tril()[:, None], positions, row[text], column[text])

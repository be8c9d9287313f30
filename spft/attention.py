"""Attention of many rows to one prefix, whose keys and values are kept once.

In a text-only stage all sentences of a batch stand under one soft prompt; in the search
all hypotheses of an utterance stand behind its audio. Either way the prefix goes
through the LLM once, by itself, and the rows attend to what it left there: nothing of
it is computed, copied or reordered for each row, unless one prefix of several has
several texts (``owners`` in :meth:`spft.llm.LLM.forward`): each text gets a copy then.
(Training on a GPU has a way of its own, :mod:`spft.rows`.)
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface, DynamicCache, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from spft.errors import UserError

NAME = "shared_prefix"


@dataclass(frozen=True)
class SharedPrefix:
    """Keys and values of A prefixes, for rows that come in A groups of equal size.

    Give it to the model's forward as ``shared_prefix``, together with the rows' own
    ``position_ids`` (which go on from the prefix's) and no attention mask: the rows
    follow their prefix directly and have their padding, if any, on the right.

    Attributes:
        cache: of the prefixes' own pass, ``[A, heads, T, head size]`` in each layer.
        mask: ``[A, T]`` bool, true where a position is valid; None where all are.
    """

    cache: DynamicCache
    mask: Tensor | None = None

    def select(self, index: Tensor) -> "SharedPrefix":
        """The prefixes ``index``, where some groups are done."""
        cache = DynamicCache()
        for i, layer in enumerate(self.cache.layers):
            cache.update(layer.keys[index], layer.values[index], i)
        return SharedPrefix(cache, None if self.mask is None else self.mask[index])


def enable(model: PreTrainedModel) -> None:
    """Let ``model`` take ``shared_prefix``; without it, all stays as it was (SDPA).

    Raises:
        UserError: transformers' implementation of this LLM allows no own attention.
    """
    if model.config._attn_implementation == NAME:
        return
    if not model._supports_attention_backend:
        raise UserError(
            f"{type(model).__name__} cannot share a prefix between sentences "
            "(transformers gives it no attention interface); choose another LLM"
        )
    config = model.config.get_text_config()
    known = {"full_attention", "sliding_attention"}
    if others := set(getattr(config, "layer_types", None) or ()) - known:
        raise UserError(
            f"{type(model).__name__} has layers without attention to single positions "
            f"({', '.join(sorted(others))}), which cannot share a prefix between "
            "sentences; choose another LLM"
        )
    model.set_attn_implementation(NAME)
    try:
        error = _probe(model)
    except RuntimeError:
        error = 1.0
    if error > 0.2:  # of bfloat16 it is some .02
        raise UserError(
            f"{type(model).__name__} does not attend to a shared prefix as to one of "
            "each sentence; choose another LLM"
        )


@torch.no_grad()
def _probe(model: PreTrainedModel) -> float:
    """How far hidden states behind a shared prefix are from those of one sequence.

    Some implementations drop what they do not know, the prefix, without an error.
    """
    training = model.training
    model.eval()
    embeds = model.get_input_embeddings()
    tokens = torch.arange(5, device=embeds.weight.device)[None]
    run, cache = model.base_model, DynamicCache()
    expected = run(inputs_embeds=embeds(tokens), use_cache=False).last_hidden_state
    run(inputs_embeds=embeds(tokens[:, :3]), past_key_values=cache, use_cache=True)
    found = run(
        inputs_embeds=embeds(tokens[:, 3:]),
        position_ids=tokens[:, 3:],
        use_cache=False,
        shared_prefix=SharedPrefix(cache),
    ).last_hidden_state
    model.train(training)
    expected, found = expected[:, 3:].float(), found.float()
    return ((found - expected).norm() / expected.norm()).item()


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    shared_prefix: SharedPrefix | None = None,
    **kwargs,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it.

    Args:
        module: one layer's attention.
        query: ``[N, H, L, E]``.
        key: ``[N, K, S, E]``, of the rows themselves; H is a multiple of K.
        value: ``[N, K, S, E]``.
        attention_mask: used without a shared prefix only.
        scaling: of the scores.
        dropout: of the attention weights.
        shared_prefix: what the rows, N a multiple of its A, stand behind.
        kwargs: for SDPA.

    Returns:
        ``[N, L, H, E]``; and None, for the weights are not kept.
    """
    if kwargs.get("s_aux") is not None:
        raise UserError("this LLM's attention has sinks, which SDPA leaves out; "
                        "choose another LLM")  # fmt: skip
    if shared_prefix is None:
        return sdpa_attention_forward(
            module,
            query,
            key,
            value,
            attention_mask,
            dropout=dropout,
            scaling=scaling,
            **kwargs,
        )
    layer = shared_prefix.cache.layers[module.layer_idx]
    window = kwargs.get("sliding_window")
    positions = layer.keys.shape[2] + key.shape[2]
    if window and positions > window:
        raise UserError(
            f"prefix and text have {positions} positions, of which this LLM attends to "
            f"the last {window} alone; choose one without such a window"
        )
    before = (layer.keys, layer.values, shared_prefix.mask)
    return _attend_shared(query * scaling, key, value, before, dropout), None


def _attend_shared(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    shared: tuple[Tensor, Tensor, Tensor | None],
    dropout: float,
) -> Tensor:
    """Attention of rows to a shared prefix and to themselves.

    Args:
        query: as for :func:`attend`, scaled.
        key: likewise.
        value: likewise.
        shared: keys and values ``[A, K, T, E]`` of the prefix, its mask ``[A, T]``.
        dropout: of the attention weights.
    """
    keys, values, mask = shared
    groups, heads, width = keys.shape[:3]
    rows, _, length, size = query.shape

    # Group A, key head K, row n of its group, then what attends: queries of one head.
    # All in the model's own dtype: that was no less exact than SDPA's float32 in the
    # scores, and autocast would only convert back and forth.
    query = query.reshape(rows, heads, -1, size)
    query, key, value = (
        t.to(value.dtype).unflatten(0, (groups, -1)).transpose(1, 2)
        for t in (query, key, value)
    )
    keys = keys.to(value.dtype)
    with torch.autocast(query.device.type, enabled=False):
        before = query.flatten(2, 3) @ keys.transpose(-1, -2)
        if mask is not None:
            before = before.masked_fill(~mask[:, None, None], -torch.inf)
        own = query @ key.transpose(-1, -2)
        if length > 1:
            later = query.new_ones(length, key.shape[-2], dtype=torch.bool)
            later = later.triu(1 + key.shape[-2] - length)
            own = own.unflatten(-2, (-1, length)).masked_fill(later, -torch.inf)
            own = own.flatten(-3, -2)
        weights = torch.cat([before.view(*own.shape[:-1], width), own], -1)
        weights = F.dropout(weights.softmax(-1), dropout)
        before, own = weights.split([width, key.shape[-2]], -1)
        before = before.flatten(2, 3) @ values
        output = before.view(query.shape) + own @ value  # [A, K, n, H / K * L, E]
    output = output.unflatten(-2, (-1, length)).permute(0, 2, 4, 1, 3, 5)
    return output.reshape(rows, length, -1, size)


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)

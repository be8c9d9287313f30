"""Batched beam search over a decoder-only LLM with KV cache and shallow fusion.

One search runs over utterances x beam. The score of a hypothesis y of n tokens is

    log p_llm(y) + sum over scorers of w * log p(y) + length_bonus * n

where n counts eos. The finishing rule is that of transformers' ``generate`` (5.x) with
``length_penalty=0``, so that without scorers both give the same n-best. At each step
the ``2 * beam`` best continuations of an utterance are drawn; those among the first
``beam`` that end (eos, or the utterance's token limit) join its finished hypotheses, of
which the ``beam`` best are kept; the best ``beam`` that do not end go on. An utterance
is done, and leaves the batch, when it is at its limit, or when ``beam`` hypotheses have
finished and the best open one is no better than the worst of them.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from spft import attention, few_rows
from spft.attention import SharedPrefix
from spft.prefix import Prefix
from spft.search.hypothesis import Hypothesis
from spft.search.scorers import WeightedScorer


@dataclass(frozen=True)
class BeamSearchConfig:
    """How to search; names that ``generate`` of transformers has mean the same.

    Attributes:
        beam: hypotheses kept per utterance.
        length_bonus: added per token, against deletions. Above 0 an utterance may be
            done too early: an open hypothesis could gain more than it loses.
        min_tokens: eos is forbidden before so many tokens; for benchmarks.
        no_repeat_ngram_size: no n-gram of so many tokens occurs twice in a hypothesis,
            which ends loops; 0 allows all.
        pre_beam: how many tokens of each hypothesis the partial scorers see.
    """

    beam: int = 4
    length_bonus: float = 0.0
    min_tokens: int = 0
    no_repeat_ngram_size: int = 0
    pre_beam: int = 40

    def __post_init__(self):
        if self.beam < 1:
            raise ValueError(f"beam must be at least 1, not {self.beam}")
        if self.pre_beam < 2 * self.beam:
            # Below that the partial scorers would prune what the search may still need.
            raise ValueError(f"pre_beam must be at least 2 * beam, not {self.pre_beam}")


@dataclass
class _Beams:
    """The open hypotheses: A utterances still running x n hypotheses each."""

    utterances: list[int]  # [A], their rows in the prefix
    tokens: Tensor  # [A, n, t]
    totals: Tensor  # [A, n], their scores so far
    parts: dict[str, Tensor]  # [A, n] each
    prefix: SharedPrefix  # A
    starts: Tensor  # [A], positions before the text
    cache: DynamicCache  # A * n rows, of the tokens alone
    states: dict[str, Any]  # A * n rows each


@dataclass
class _Drawn:
    """The best continuations of A utterances by one token."""

    tokens: Tensor  # [A, 2 * beam, t]
    totals: Tensor  # [A, 2 * beam], best first
    parts: dict[str, Tensor]  # [A, 2 * beam] each
    parents: Tensor  # [A, 2 * beam], rows of the cache


class BeamSearch:
    """Searches the text that follows ``[prefix][bos]``.

    Args:
        llm: a causal LM of transformers.
        bos_id: the token between prefix and text.
        eos_id: the token that ends the text.
        scorers: name -> scorer and weight. Those of weight 0 are left out.
        config: see :class:`BeamSearchConfig`.
    """

    def __init__(
        self,
        llm: PreTrainedModel,
        bos_id: int,
        eos_id: int,
        scorers: dict[str, WeightedScorer] | None = None,
        config: BeamSearchConfig | None = None,
    ):
        scorers = {k: s for k, s in (scorers or {}).items() if s.weight != 0}
        if reserved := {"llm", "length"} & scorers.keys():
            raise ValueError(f"reserved scorer names: {sorted(reserved)}")
        attention.enable(llm)
        few_rows.enable(llm)
        self.llm, self.bos_id, self.eos_id = llm, bos_id, eos_id
        self.config = config or BeamSearchConfig()
        self.full = {k: s for k, s in scorers.items() if not s.partial}
        self.partial = {k: s for k, s in scorers.items() if s.partial}

    @torch.inference_mode()
    def __call__(self, prefix: Prefix, max_tokens: list[int]) -> list[list[Hypothesis]]:
        """Search all utterances at once.

        Args:
            prefix: of B utterances.
            max_tokens: ``[B]``, the most tokens to generate for each, eos included.

        Returns:
            For each utterance its n-best hypotheses, best first. There may be fewer
            than ``beam`` where the vocabulary or the limit allow no more.
        """
        if len(max_tokens) != prefix.batch_size or min(max_tokens, default=1) < 1:
            raise ValueError("max_tokens: one number of at least 1 for each utterance")
        if not max_tokens:
            return []
        finished: list[list[Hypothesis]] = [[] for _ in max_tokens]
        logits, beams = self._start(prefix)
        for step in range(1, max(max_tokens) + 1):
            limits = torch.tensor([max_tokens[u] for u in beams.utterances])
            candidates, scores, parts = self._score(logits, beams, step)
            drawn = self._draw(beams, candidates, scores, parts)
            at_limit = step >= limits.to(prefix.embeds.device)
            ends = (drawn.tokens[..., -1] == self.eos_id) | at_limit[:, None]
            self._finish(beams.utterances, drawn, ends, finished)
            rows = self._keep(beams, drawn, ends, finished)
            if rows is None:
                break
            logits = self._forward(beams, rows)
        return finished

    def _start(self, prefix: Prefix) -> tuple[Tensor, _Beams]:
        """Run ``[prefix][bos]`` once per utterance; one empty hypothesis each."""
        embed = self.llm.get_input_embeddings()
        embeds, mask = prefix.left_padded()
        batch, device = prefix.batch_size, embeds.device
        bos = embed(torch.full((batch, 1), self.bos_id, device=device))
        embeds = torch.cat([embeds.to(bos.dtype), bos], 1)
        mask = torch.cat([mask, mask.new_ones(batch, 1)], 1)
        totals = torch.zeros(batch, 1, device=device)
        names = ["llm", *self.full, *self.partial]
        cache = DynamicCache()
        beams = _Beams(
            utterances=list(range(batch)),
            tokens=torch.empty(batch, 1, 0, dtype=torch.long, device=device),
            totals=totals,
            parts={name: totals for name in names},
            prefix=SharedPrefix(cache, mask),
            starts=prefix.lengths + 1,
            cache=DynamicCache(),
            states={k: s.scorer.initial(batch) for k, s in self.scorers.items()},
        )
        output = self.llm(
            inputs_embeds=embeds,
            attention_mask=mask.long(),
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            past_key_values=cache,
            use_cache=True,
            # An index, not 1: the slice of that is no matrix in memory, and its product
            # with the output layer would copy that layer once for each utterance.
            logits_to_keep=torch.tensor([embeds.shape[1] - 1], device=device),
        )
        return output.logits[:, -1], beams

    def _score(
        self, logits: Tensor, beams: _Beams, step: int
    ) -> tuple[Tensor | None, Tensor, dict[str, Tensor]]:
        """Fuse the LLM's ``logits [N, V]`` with the scorers.

        Returns:
            The candidate tokens ``[N, C]`` (None: all tokens), their fused scores, and
            each scorer's weighted part of these, all ``[N, C]``.
        """
        if beams.tokens.shape[-1]:
            last = beams.tokens[..., -1].flatten()
        else:
            last = logits.new_full((len(logits),), self.bos_id, dtype=torch.long)
        scores = logits.float().log_softmax(-1)
        parts = {"llm": scores}
        for name, weighted in self.full.items():
            log_probs, state = weighted.scorer.score(last, beams.states[name])
            beams.states[name] = state
            parts[name] = log_probs * weighted.weight
            scores = scores + parts[name]
        if step <= self.config.min_tokens:
            scores = scores.clone()
            scores[:, self.eos_id] = -torch.inf
        if repeated := self._repeated(beams.tokens.flatten(0, 1)):
            scores = scores.index_put(repeated, scores.new_tensor(-torch.inf))
        if not self.partial:
            return None, scores, parts

        candidates = scores.topk(min(self.config.pre_beam, scores.shape[1])).indices
        # eos is among them: only by its score can the n-gram object to going on.
        has_eos = (candidates == self.eos_id).any(1)
        candidates[:, -1].masked_fill_(~has_eos, self.eos_id)
        scores = scores.gather(1, candidates)
        parts = {name: part.gather(1, candidates) for name, part in parts.items()}
        for name, weighted in self.partial.items():
            log_probs, state = weighted.scorer.score_partial(
                last, candidates, beams.states[name]
            )
            beams.states[name] = state
            parts[name] = log_probs * weighted.weight
            scores = scores + parts[name]
        return candidates, scores, parts

    def _repeated(self, tokens: Tensor) -> tuple[Tensor, Tensor] | None:
        """Rows of ``tokens [N, t]`` and what would repeat one of their n-grams."""
        context = self.config.no_repeat_ngram_size - 1
        if not 0 <= context < tokens.shape[1]:
            return None
        followed = tokens[:, context:]  # by it, `context` tokens before
        if context:
            windows = tokens.unfold(1, context, 1)
            rows, at = (windows[:, :-1] == windows[:, -1:]).all(-1).nonzero().T
        else:
            rows, at = torch.ones_like(followed).nonzero().T
        return rows, followed[rows, at]

    def _draw(
        self,
        beams: _Beams,
        candidates: Tensor | None,
        scores: Tensor,
        parts: dict[str, Tensor],
    ) -> _Drawn:
        """Draw each utterance's ``2 * beam`` best continuations."""
        drawn = 2 * self.config.beam
        count, width = beams.totals.shape[1], scores.shape[1]
        totals = beams.totals[..., None] + self.config.length_bonus
        totals = (totals + scores.view(-1, count, width)).flatten(1)
        if (missing := drawn - totals.shape[1]) > 0:  # a tiny vocabulary
            totals = torch.nn.functional.pad(totals, (0, missing), value=-torch.inf)
        totals, index = totals.topk(drawn)
        index = index.clamp(max=count * width - 1)

        offset = torch.arange(len(totals), device=totals.device)[:, None] * count
        rows, column = offset + index // width, index % width
        token = column if candidates is None else candidates[rows, column]
        return _Drawn(
            tokens=torch.cat([beams.tokens.flatten(0, 1)[rows], token[..., None]], -1),
            totals=totals,
            parts={
                name: part[rows, column] + beams.parts[name].flatten()[rows]
                for name, part in parts.items()
            },
            parents=rows,
        )

    def _finish(
        self,
        utterances: list[int],
        drawn: _Drawn,
        ends: Tensor,
        finished: list[list[Hypothesis]],
    ) -> None:
        """File the best of those that end, ``ends [A, 2 * beam]``, by utterance."""
        beam = self.config.beam
        possible = drawn.totals > -torch.inf
        for a, k in (ends & possible)[:, :beam].nonzero().tolist():
            parts = {name: part[a, k].item() for name, part in drawn.parts.items()}
            hypothesis = self.hypothesis(drawn.tokens[a, k].tolist(), parts)
            finished[utterances[a]].append(hypothesis)
        for utterance in utterances:
            finished[utterance].sort(key=lambda h: -h.score)
            del finished[utterance][beam:]

    def _keep(
        self,
        beams: _Beams,
        drawn: _Drawn,
        ends: Tensor,
        finished: list[list[Hypothesis]],
    ) -> Tensor | None:
        """Go on with the best continuations that do not end; drop utterances done.

        Returns:
            For each hypothesis kept, its parent's row in the cache and the scorers'
            states; None when all utterances are done.
        """
        totals, order = drawn.totals.masked_fill(ends, -torch.inf).topk(
            self.config.beam
        )
        kept = [
            a
            for a, best in enumerate(totals[:, 0].tolist())
            if self._goes_on(best, finished[beams.utterances[a]])
        ]
        if not kept:
            return None
        if len(kept) < len(totals):
            beams.utterances = [beams.utterances[a] for a in kept]
            beams.prefix, beams.starts = beams.prefix.select(kept), beams.starts[kept]
        order = order[kept]
        beams.totals = totals[kept]
        beams.tokens = drawn.tokens[kept].take_along_dim(order[..., None], 1)
        beams.parts = {
            k: part[kept].gather(1, order) for k, part in drawn.parts.items()
        }
        return drawn.parents[kept].gather(1, order).flatten()

    @property
    def scorers(self) -> dict[str, WeightedScorer]:
        """Those in use, by name."""
        return self.full | self.partial

    def allows(self, tokens: list[int]) -> bool:
        """Whether no n-gram of ``tokens`` occurs twice that must not."""
        size = self.config.no_repeat_ngram_size
        grams = [tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)]
        return not size or len(set(grams)) == len(grams)

    def hypothesis(self, tokens: list[int], parts: dict[str, float]) -> Hypothesis:
        """A finished hypothesis of ``tokens``, which end with eos or are cut off."""
        parts = dict(parts)
        if self.config.length_bonus:
            parts["length"] = self.config.length_bonus * len(tokens)
        truncated = tokens[-1] != self.eos_id
        tokens = tokens if truncated else tokens[:-1]
        return Hypothesis(tokens, sum(parts.values()), parts, truncated)

    def _goes_on(self, best: float, hypotheses: list[Hypothesis]) -> bool:
        """Whether an utterance whose best open total is ``best`` should go on."""
        if best == -torch.inf:  # at its limit: all have ended
            return False
        return len(hypotheses) < self.config.beam or best > hypotheses[-1].score

    def _forward(self, beams: _Beams, rows: Tensor) -> Tensor:
        """Reorder caches and states by ``rows``, feed the newest tokens: ``[N, V]``."""
        beams.cache.reorder_cache(rows)
        for name, weighted in self.scorers.items():
            beams.states[name] = weighted.scorer.select(beams.states[name], rows)
        count, length = beams.tokens.shape[1:]
        positions = (beams.starts + length - 1).repeat_interleave(count)
        output = self.llm(
            input_ids=beams.tokens[..., -1].reshape(-1, 1),
            position_ids=positions[:, None],
            past_key_values=beams.cache,
            shared_prefix=beams.prefix,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1]

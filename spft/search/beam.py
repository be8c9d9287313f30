"""Batched beam search over a decoder-only LLM with KV cache and shallow fusion.

One search runs over utterances x beam. The score of a hypothesis y of n tokens is

    (log p_llm(y) + sum over scorers of w * log p(y) + length_bonus * n)
        / n ** length_penalty

where n counts eos. The finishing rule is that of transformers' ``generate`` (5.x), so
that without scorers both give the same n-best. At each step the ``2 * beam`` best
continuations of an utterance are drawn; those among the first ``beam`` that end (eos,
or the utterance's token limit) join its finished hypotheses, of which the ``beam`` best
are kept; the best ``beam`` that do not end go on. An utterance is done, and leaves the
batch, when it is at its limit, or when ``beam`` hypotheses have finished and either
``early_stopping`` is true or the best open one cannot beat the worst finished one.
"""

from dataclasses import dataclass
from typing import Any, Literal

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

    Recipes leave ``early_stopping`` and ``min_tokens`` as they are: these are there for
    the comparison with ``generate`` and for benchmarks.

    Attributes:
        beam: hypotheses kept per utterance.
        length_penalty: the exponent of the length that the score is divided by.
        length_bonus: added per token, against deletions.
        early_stopping: True stops at ``beam`` finished hypotheses; False also asks that
            no open one looks better at its present length (a heuristic where
            ``length_penalty`` or ``length_bonus`` is above 0); "never" that none could
            be better at the token limit either.
        min_tokens: eos is forbidden before so many tokens.
        no_repeat_ngram_size: no n-gram of so many tokens occurs twice in a hypothesis,
            which ends loops; 0 allows all.
        pre_beam: how many tokens of each hypothesis the partial scorers see.
    """

    beam: int = 4
    length_penalty: float = 1.0
    length_bonus: float = 0.0
    early_stopping: bool | Literal["never"] = False
    min_tokens: int = 0
    no_repeat_ngram_size: int = 0
    pre_beam: int = 40

    def __post_init__(self):
        if self.beam < 1:
            raise ValueError(f"beam must be at least 1, not {self.beam}")
        if self.pre_beam < 2 * self.beam:
            # Below that the partial scorers would prune what the search may still need.
            raise ValueError(f"pre_beam must be at least 2 * beam, not {self.pre_beam}")
        if self.early_stopping not in (True, False, "never"):
            raise ValueError(
                f'early_stopping: true, false or "never", not {self.early_stopping!r}'
            )


@dataclass
class _Beams:
    """The open hypotheses: A utterances still running x n hypotheses each."""

    utterances: list[int]  # [A], their rows in the prefix
    tokens: Tensor  # [A, n, t]
    totals: Tensor  # [A, n], before length normalisation
    parts: dict[str, Tensor]  # [A, n] each
    prefix: SharedPrefix  # A
    starts: Tensor  # [A], positions before the text
    cache: DynamicCache  # A * n rows, of the tokens alone
    states: dict[str, Any]  # A * n rows each


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
            rows = self._advance(
                beams, candidates, scores, parts, step, limits, finished
            )
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

    def _advance(
        self,
        beams: _Beams,
        candidates: Tensor | None,
        scores: Tensor,
        parts: dict[str, Tensor],
        step: int,
        limits: Tensor,
        finished: list[list[Hypothesis]],
    ) -> Tensor | None:
        """Draw the best continuations, file those that end, keep the open ones.

        Returns:
            For each hypothesis kept, its parent's row in the cache and the scorers'
            states; None when all utterances are done.
        """
        beam = self.config.beam
        count, width = beams.totals.shape[1], scores.shape[1]
        totals = beams.totals[..., None] + self.config.length_bonus
        totals = (totals + scores.view(-1, count, width)).flatten(1)
        if (missing := 2 * beam - totals.shape[1]) > 0:  # a tiny vocabulary
            totals = torch.nn.functional.pad(totals, (0, missing), value=-torch.inf)
        totals, index = totals.topk(2 * beam)  # [A, 2 * beam]
        index = index.clamp(max=count * width - 1)

        offset = torch.arange(len(totals), device=totals.device)[:, None] * count
        rows, column = offset + index // width, index % width
        token = column if candidates is None else candidates[rows, column]
        tokens = torch.cat([beams.tokens.flatten(0, 1)[rows], token[..., None]], -1)
        parts = {
            name: part[rows, column] + beams.parts[name].flatten()[rows]
            for name, part in parts.items()
        }
        at_limit = step >= limits.to(totals.device)
        ends = (token == self.eos_id) | at_limit[:, None]
        possible = totals > -torch.inf
        for a, k in (ends & possible)[:, :beam].nonzero().tolist():
            values = {name: part[a, k].item() for name, part in parts.items()}
            hypothesis = self.hypothesis(tokens[a, k].tolist(), values)
            finished[beams.utterances[a]].append(hypothesis)

        open_totals, order = totals.masked_fill(ends, -torch.inf).topk(beam)
        kept = []
        for a, (best, limit) in enumerate(
            zip(open_totals[:, 0].tolist(), limits.tolist(), strict=True)
        ):
            hypotheses = finished[beams.utterances[a]]
            hypotheses.sort(key=lambda h: -h.score)
            del hypotheses[beam:]
            if step < limit and self._goes_on(best, hypotheses, step, limit):
                kept.append(a)
        if not kept:
            return None

        if len(kept) < len(totals):
            beams.utterances = [beams.utterances[a] for a in kept]
            beams.prefix, beams.starts = beams.prefix.select(kept), beams.starts[kept]
        rows, order = rows[kept], order[kept]
        beams.totals = open_totals[kept]
        beams.tokens = tokens[kept].take_along_dim(order[..., None], 1)
        beams.parts = {k: part[kept].gather(1, order) for k, part in parts.items()}
        return rows.gather(1, order).flatten()

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
        """A finished hypothesis, with eos or cut off; ``parts`` not yet normalised."""
        length, parts = len(tokens), dict(parts)
        if self.config.length_bonus:
            parts["length"] = self.config.length_bonus * length
        norm = length**self.config.length_penalty
        parts = {name: value / norm for name, value in parts.items()}
        complete = tokens[-1] == self.eos_id
        if complete:
            tokens = tokens[:-1]
        return Hypothesis(tokens, sum(parts.values()), parts, not complete)

    def _goes_on(
        self, best: float, hypotheses: list[Hypothesis], step: int, limit: int
    ) -> bool:
        """Whether an utterance whose best open total is ``best`` should go on."""
        config = self.config
        if best == -torch.inf:
            return False
        if len(hypotheses) < config.beam:
            return True
        if config.early_stopping is True:
            return False
        lengths = (step, limit) if config.early_stopping == "never" else (step,)
        bonus = max(0.0, config.length_bonus)
        reachable = max(
            (best + bonus * (n - step)) / n**config.length_penalty for n in lengths
        )
        return reachable > hypotheses[-1].score

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

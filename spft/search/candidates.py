"""Texts that several judges have scored: ranking them, and weighing the judges."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from spft.search.beam import Hypothesis

LANGUAGE_MODELS = ("lm", "ngram")  # deletions would please them


@dataclass(frozen=True)
class Candidates:
    """The texts of one utterance and what each judge says of them.

    Attributes:
        texts: N.
        tokens: of each, in the LLM's vocabulary.
        log_probs: judge to ``[N]``, natural logarithms.
    """

    texts: list[str]
    tokens: list[list[int]]
    log_probs: dict[str, list[float]]

    def ranked(
        self, weights: Mapping[str, float], length_bonus: float
    ) -> list[Hypothesis]:
        """Best first, by the weighted sum of ``log_probs``.

        Args:
            weights: by judge; what is not there has weight 0, the LLM 1.
            length_bonus: added per token for each unit of the language models' weights.
        """
        weights = {"llm": 1.0, **weights}
        weighted = weigh(self.tokens, self.log_probs, weights, length_bonus)
        ranked = [
            Hypothesis(tokens, sum(parts.values()), parts)
            for tokens, parts in zip(self.tokens, weighted, strict=True)
        ]
        return sorted(ranked, key=lambda hypothesis: -hypothesis.score)


def weigh(
    tokens: list[list[int]],
    log_probs: Mapping[str, list[float]],
    weights: Mapping[str, float],
    length_bonus: float,
) -> list[dict[str, float]]:
    """What each judge adds to the score of each text; see :meth:`Candidates.ranked`."""
    used = {name: w for name, w in weights.items() if w and name in log_probs}
    bonus = length_bonus * sum(used.get(name, 0.0) for name in LANGUAGE_MODELS)
    weighted = []
    for n, row in enumerate(tokens):
        parts = {name: weight * log_probs[name][n] for name, weight in used.items()}
        if bonus:
            parts["length"] = bonus * (len(row) + 1)
        weighted.append(parts)
    return weighted


def choose_weights(
    candidates: Mapping[str, Candidates],
    grids: Mapping[str, Sequence[float]],
    length_bonus: float,
    error_rate: Callable[[dict[str, list[Hypothesis]]], float],
    start: Mapping[str, float],
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """Find the weights of fewest errors, one after the other until none is better.

    Args:
        candidates: of the utterances of a development set.
        grids: values to try, by judge.
        length_bonus: see :meth:`Candidates.ranked`.
        error_rate: of n-best lists.
        start: weights to begin with.

    Returns:
        The weights, and what was tried with its error rate, under "error".
    """
    judges = next(iter(candidates.values())).log_probs
    grids = {name: grid for name, grid in grids.items() if name in judges}
    weights = {name: start.get(name, 0.0) for name in grids}
    tried: dict[tuple, float] = {}

    def rate(weights: dict[str, float]) -> float:
        key = tuple(weights.values())
        if key not in tried:
            ranked = {u: c.ranked(weights, length_bonus) for u, c in candidates.items()}
            tried[key] = error_rate(ranked)
        return tried[key]

    best, before = rate(weights), float("inf")
    while best < before:
        before = best
        for name, grid in grids.items():
            for value in grid:
                changed = {**weights, name: value}
                if rate(changed) < best:
                    best, weights = rate(changed), changed
    sweep = [
        dict(zip(weights, key, strict=True)) | {"error": round(error, 2)}
        for key, error in tried.items()
    ]
    return weights, sweep

"""Texts that several judges have scored, ranked by the judges' weights."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from spft.search.hypothesis import Hypothesis

LANGUAGE_MODELS = ("lm", "ngram")  # they favour short texts: a bonus per token evens it
GATE = "gate"  # among the weights: the ratio from which language models have a say
# For what a judge holds impossible: the others still tell two such apart.
MIN_LOG_PROB = -1e9


@dataclass(frozen=True)
class Candidates:
    """The texts of one utterance and what each judge says of them.

    Attributes:
        texts: N.
        tokens: of each, in the LLM's vocabulary.
        log_probs: judge to ``[N]``, natural logarithms.
        ratio: log-likelihood ratio of the text that the LLM likes best, in nats per
            token: by the domain's n-gram (without one, its LM), less that by the LLM
            without the audio. Lowest for speech that is not of the domain.
    """

    texts: list[str]
    tokens: list[list[int]]
    log_probs: dict[str, list[float]]
    ratio: float = math.inf

    def ranked(
        self, weights: Mapping[str, float], length_bonus: float
    ) -> list[Hypothesis]:
        """Best first, by the weighted sum of ``log_probs``.

        Args:
            weights: by judge; what is not there has weight 0, the LLM 1. Where the
                ratio is less than their :data:`GATE`, language models have 0, too.
            length_bonus: added per token for each unit of the language models' weights.
        """
        closed = LANGUAGE_MODELS if self.ratio < weights.get(GATE, -math.inf) else ()
        weights = {"llm": 1.0} | {k: w for k, w in weights.items() if k not in closed}
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
        parts = {
            k: weight * max(log_probs[k][n], MIN_LOG_PROB) for k, weight in used.items()
        }
        if bonus:
            parts["length"] = bonus * (len(row) + 1)
        weighted.append(parts)
    return weighted

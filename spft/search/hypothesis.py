"""What a search finds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """One recognition result.

    Attributes:
        tokens: without bos and eos.
        score: weighted sum of log-probabilities.
        parts: what "llm", the scorers, "first_pass" and "length" each contribute to
            ``score``; the values add up to it.
        truncated: it ended at the token limit, not with eos.
    """

    tokens: list[int]
    score: float
    parts: dict[str, float]
    truncated: bool = False

"""What a language model must offer to be fused into the beam search.

All hypotheses of all utterances are scored in one call. A scorer keeps whatever it
needs of the past in a state of its own type, one row per hypothesis; the search only
carries the state around and reorders it with ``select``.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


class Scorer(Protocol):
    """Scores every token of the LLM's vocabulary (V) for each hypothesis."""

    def initial(self, n: int) -> Any:
        """The state of ``n`` hypotheses that hold nothing yet, not even bos."""
        ...

    def score(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Take in one more token per hypothesis and predict the one after it.

        Args:
            tokens: ``[N]``, the newest token of each hypothesis (at first bos).
            state: the state before these tokens.

        Returns:
            ``[N, V]`` natural-log probabilities in fp32, and the state after `tokens`.
        """
        ...

    def select(self, state: Any, index: Tensor) -> Any:
        """Rows ``index [M]`` of ``state``; each any number of times."""
        ...


class PartialScorer(Protocol):
    """Scores only the candidates that the other scorers like best."""

    def initial(self, n: int) -> Any:
        """As in :class:`Scorer`."""
        ...

    def score_partial(
        self, tokens: Tensor, candidates: Tensor, state: Any
    ) -> tuple[Tensor, Any]:
        """As :meth:`Scorer.score`, for ``candidates [N, C]``: gives ``[N, C]``."""
        ...

    def select(self, state: Any, index: Tensor) -> Any:
        """As in :class:`Scorer`."""
        ...


@dataclass(frozen=True)
class WeightedScorer:
    """A scorer and the factor on its log-probabilities; 0 leaves the scorer out."""

    scorer: Scorer | PartialScorer
    weight: float

    @property
    def partial(self) -> bool:
        return hasattr(self.scorer, "score_partial")


class VocabularyMap:
    """From an LM that knows some of the LLM's tokens to all of them.

    Each token that the LM does not know gets the probability of its <unk>, undivided:
    among these tokens the choice is the LLM's alone. Shared evenly, it would cost a
    name that the domain text lacks ten nats more, and fusion would always replace it.
    bos and eos of the LLM stand for the LM's own sentence boundary.

    Args:
        known: LLM token id -> LM token id.
        unk: the LM's <unk>.
        boundary: the LM's <sos/eos>.
        vocab_size: V, the size of the LLM's vocabulary.
        bos_id: of the LLM.
        eos_id: of the LLM.
    """

    def __init__(
        self,
        known: dict[int, int],
        unk: int,
        boundary: int,
        vocab_size: int,
        bos_id: int,
        eos_id: int,
    ):
        known = {**known, eos_id: boundary}
        if max(known) >= vocab_size:
            raise ValueError(f"token {max(known)} >= vocabulary size {vocab_size}")
        output = torch.full((vocab_size,), unk)
        output[list(known)] = torch.tensor(list(known.values()))
        self.output = output
        self.input = output.clone()
        self.input[bos_id] = boundary

    def to(self, device: torch.device | str) -> "VocabularyMap":
        self.output, self.input = self.output.to(device), self.input.to(device)
        return self

    def encode(self, tokens: Tensor) -> Tensor:
        """LLM token ids -> LM token ids, of any shape."""
        return self.input[tokens]

    def spread(self, log_probs: Tensor) -> Tensor:
        """``[N, V_lm]`` log-probabilities of the LM -> ``[N, V]`` of the LLM."""
        return log_probs.index_select(1, self.output)

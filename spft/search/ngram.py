"""Fusion of an n-gram over the LLM's tokens, queried through KenLM."""

import math
from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor

from spft.errors import UserError
from spft.search.kneser_ney import EOS, UNK


class NgramLM:
    """A :class:`~spft.search.scorers.PartialScorer` around an ARPA or KenLM file.

    Its words are ids of LLM tokens. Each token that it does not know gets the
    probability of <unk>, as in :class:`~spft.search.scorers.VocabularyMap`.

    Args:
        folder: holds ``ngram.arpa``.
        vocab_size: V, the width of the LLM's output.
        bos_id: of the LLM, read as <s>.
        eos_id: of the LLM, read as </s>.

    Raises:
        UserError: no such file, or KenLM cannot read it.
    """

    def __init__(self, folder: str | Path, vocab_size: int, bos_id: int, eos_id: int):
        import kenlm

        path = Path(folder) / "ngram.arpa"
        if not path.exists():
            raise UserError(
                f"{path}: no such n-gram; make it with spft.bin.train_ngram"
            )
        config = kenlm.Config()
        config.show_progress = False
        config.arpa_complain = kenlm.ARPALoadComplain.NONE
        try:
            self.model = kenlm.Model(str(path), config)
        except OSError as error:
            raise UserError(f"{path}: KenLM cannot read it: {error}") from error
        self._new_state = kenlm.State

        words = [str(token) for token in range(vocab_size)]
        words[eos_id] = EOS
        self.words = [word if word in self.model else UNK for word in words]
        if self.words.count(UNK) == vocab_size - 1:
            raise UserError(f"{path}: no LLM token in it; its words must be token ids")
        self.bos_id = bos_id

    def has_met(self, tokens: list[int], following: Collection[int]) -> bool:
        """Whether the text that it was made of holds ``tokens``, as far as it can tell.

        Of more tokens than its order it knows only that each stretch of so many occurs.

        Args:
            tokens: of whole words.
            following: tokens of which one must stand behind, as begin another word or
                end the sentence; or the last word may be part of a longer one.
        """
        state = self._new_state()
        self.model.NullContextWrite(state)
        for i, token in enumerate(tokens, 1):
            found, state = self._full_score(state, token)
            if found.oov or found.ngram_length < min(i, self.model.order):
                return False
        whole = min(len(tokens) + 1, self.model.order)
        followers = (t for t in following if self.words[t] != UNK)
        return any(
            self._full_score(state, token)[0].ngram_length >= whole
            for token in followers
        )

    def _full_score(self, state, token: int):
        after = self._new_state()
        return self.model.BaseFullScore(state, self.words[token], after), after

    def initial(self, n: int) -> list:
        return [None] * n

    def score_partial(
        self, tokens: Tensor, candidates: Tensor, state: list
    ) -> tuple[Tensor, list]:
        base_score, unused = self.model.BaseScore, self._new_state()
        words, to_nats = self.words, math.log(10)
        states = [
            self._after(token, previous)
            for token, previous in zip(tokens.tolist(), state, strict=True)
        ]
        scores = [
            [base_score(s, words[c], unused) * to_nats for c in row]
            for s, row in zip(states, candidates.tolist(), strict=True)
        ]
        return torch.tensor(scores, device=candidates.device), states

    def _after(self, token: int, state):
        """The state after ``token``; None stands before bos."""
        result = self._new_state()
        if state is None:
            if token != self.bos_id:
                raise ValueError(f"a hypothesis begins with {token}, not bos")
            self.model.BeginSentenceWrite(result)
        else:
            self.model.BaseScore(state, self.words[token], result)
        return result

    def select(self, state: list, index: Tensor) -> list:
        return [state[i] for i in index.tolist()]

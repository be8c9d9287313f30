"""Joint CTC/LLM search: the CTC head judges what the LLM proposes.

The CTC prefix score of Watanabe et al. (IEEE JSTSP 2017, section IV.C), for a head over
letters and hypotheses of an LLM's tokens: a token is scored by the letters it spells.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# Log-probabilities below are raised to it, so that sums over frames keep their digits.
FLOOR = -30.0


@dataclass(frozen=True)
class Spelling:
    """The letters of each of the LLM's tokens, as classes of the CTC head.

    Attributes:
        classes: ``[V, P]``, padded with 0.
        lengths: ``[V]``; -1 for a token with characters that the head does not know.
        space: the class of " ".
    """

    classes: Tensor
    lengths: Tensor
    space: int

    @classmethod
    def of(cls, tokens: list[str], alphabet: str) -> "Spelling":
        """Of the ``V`` tokens' texts; class 0 is CTC's blank."""
        index = {letter: i for i, letter in enumerate(alphabet, 1)}
        known = [all(letter in index for letter in token) for token in tokens]
        lengths = torch.tensor(
            [len(t) if ok and t else -1 for t, ok in zip(tokens, known, strict=True)]
        )
        classes = torch.zeros(len(tokens), max(1, int(lengths.max())), dtype=torch.long)
        for row, token, length in zip(classes, tokens, lengths.tolist(), strict=True):
            if length > 0:
                row[:length] = torch.tensor([index[letter] for letter in token])
        return cls(classes, lengths, index[" "])

    def to(self, device: torch.device | str) -> "Spelling":
        return Spelling(self.classes.to(device), self.lengths.to(device), self.space)


@dataclass(frozen=True)
class _Prefixes:
    """The forward variables of ``M`` letter strings.

    Column t + 1 is after frame t, column 0 before any.
    """

    utterance: Tensor  # [M], row of the log-probabilities
    letter: Tensor  # [M, T + 1], ends in its last letter
    blank: Tensor  # [M, T + 1], ends in blank
    last: Tensor  # [M], its last letter, 0 if there is none
    score: Tensor  # [M], log-probability of all strings that begin so
    frames: Tensor  # [M], that it takes at least

    def __getitem__(self, rows: Tensor) -> "_Prefixes":
        return _Prefixes(*(value[rows] for value in vars(self).values()))


class CTCPrefixScorer:
    """A :class:`~spft.search.scorers.PartialScorer` for one batch of utterances.

    Args:
        log_probs: ``[B, T, K]`` of the CTC head, class 0 the blank.
        lengths: ``[B]`` valid frames.
        spelling: of the LLM's tokens.
        eos_id: the token after the text.
    """

    def __init__(
        self, log_probs: Tensor, lengths: Tensor, spelling: Spelling, eos_id: int
    ):
        self.lengths = lengths.to(log_probs.device)
        log_probs = log_probs.float().clamp(min=FLOOR)
        frames = torch.arange(log_probs.shape[1], device=log_probs.device)
        padding = frames >= self.lengths[:, None]
        # Padding is blank for sure, so that the last column is that of the last frame.
        log_probs = log_probs.masked_fill(padding[..., None], FLOOR)
        log_probs[..., 0] = log_probs[..., 0].masked_fill(padding, 0.0)
        self.log_probs = log_probs.transpose(1, 2).contiguous()  # [B, K, T]
        self.spelling, self.eos_id = spelling, eos_id

    def initial(self, n: int) -> _Prefixes:
        """The empty strings, one for each utterance."""
        blank = torch.nn.functional.pad(self.log_probs[:, 0].cumsum(1), (1, 0))
        nothing = torch.zeros(n, dtype=torch.long, device=blank.device)
        return _Prefixes(
            utterance=torch.arange(n, device=blank.device),
            letter=torch.full_like(blank, -torch.inf),
            blank=blank,
            last=nothing,
            score=blank.new_zeros(n),
            frames=nothing,
        )

    def score_partial(
        self, tokens: Tensor, candidates: Tensor, state: _Prefixes
    ) -> tuple[Tensor, _Prefixes]:
        """Log-probabilities ``[N, C]`` of ``candidates`` after ``tokens [N]``."""
        # bos spells nothing, and so it leaves the state as it is.
        state = self._extend(state, tokens)
        scores = self._score(state, candidates) - state.score[:, None]
        unknown = self.spelling.lengths[candidates] < 0
        scores = scores.masked_fill(unknown, -torch.inf)
        ends = torch.logaddexp(state.letter[:, -1], state.blank[:, -1]) - state.score
        scores = torch.where(candidates == self.eos_id, ends[:, None], scores)
        # What has no room in the frames cannot be continued; -inf - -inf is no number.
        impossible = state.score.isneginf()[:, None]
        return scores.masked_fill(impossible, -torch.inf), state

    def select(self, state: _Prefixes, index: Tensor) -> _Prefixes:
        return state[index]

    def _letters(self, tokens: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """Classes ``[M, P]`` and lengths ``[M]`` of what ``tokens`` add to strings."""
        classes, lengths = self.spelling.classes[tokens], self.spelling.lengths[tokens]
        # A space at the start is the tokenizer's word mark, which nobody says.
        mark = (last == 0) & (classes[:, 0] == self.spelling.space)
        classes = torch.where(mark[:, None], classes.roll(-1, 1), classes)
        return classes, lengths - mark.long()

    def _extend(self, prefixes: _Prefixes, tokens: Tensor) -> _Prefixes:
        """The strings with their tokens' letters after them."""
        classes, lengths = self._letters(tokens, prefixes.last)
        for position in range(max(0, int(lengths.max()))):
            rows = (lengths > position).nonzero()[:, 0]
            _, longer = self._append(prefixes[rows], classes[rows, position])
            old, new = vars(prefixes).values(), vars(longer).values()
            prefixes = _Prefixes(
                *(a.index_copy(0, rows, b) for a, b in zip(old, new, strict=True))
            )
        return prefixes

    def _score(self, prefixes: _Prefixes, candidates: Tensor) -> Tensor:
        """Scores of the ``N`` strings with each of ``candidates [N, C]`` after them.

        Candidates that begin alike, as most do with a space, share what that takes.
        """
        tokens, count = candidates.flatten(), candidates.shape[1]
        string = torch.arange(len(candidates), device=tokens.device)
        string = string.repeat_interleave(count)  # row in `prefixes` of each candidate
        classes, lengths = self._letters(tokens, prefixes.last[string])
        scores, kinds = prefixes.score[string], self.log_probs.shape[1]
        for position in range(max(0, int(lengths.max()))):
            rows = (lengths > position).nonzero()[:, 0]
            steps = string[rows] * kinds + classes[rows, position]
            steps, step = steps.unique(return_inverse=True)
            go_on = lengths[rows] > position + 1
            kept, string[rows[go_on]] = step[go_on].unique(return_inverse=True)
            score, prefixes = self._append(
                prefixes[steps // kinds], steps % kinds, kept
            )
            scores[rows] = score[step]
        return scores.view_as(candidates)

    def _append(
        self, prefixes: _Prefixes, letter: Tensor, kept: Tensor | slice = slice(None)
    ) -> tuple[Tensor, _Prefixes]:
        """Scores of the strings with one letter each after them; those ``kept``."""
        emit = self.log_probs[prefixes.utterance, letter]  # [M, T]
        before = torch.logaddexp(prefixes.letter, prefixes.blank)[:, :-1]
        # The same letter again needs a blank between the two.
        again = prefixes.last == letter
        frames = prefixes.frames + 1 + again
        before = torch.where(again[:, None], prefixes.blank[:, :-1], before)
        score = torch.logsumexp(before + emit, 1)
        # Padding is no room, whatever the other utterances of the batch have of it.
        room = self.lengths[prefixes.utterance]
        score = score.masked_fill(frames > room, -torch.inf)
        utterance = prefixes.utterance[kept]
        new_letter = _stay(before[kept], emit[kept])
        new_blank = _stay(new_letter[:, :-1], self.log_probs[utterance, 0])
        longer = _Prefixes(
            utterance, new_letter, new_blank, letter[kept], score[kept], frames[kept]
        )
        return score, longer


def score_by_ctc(log_probs: Tensor, texts: list[str], alphabet: str) -> Tensor:
    """What a CTC head gives to whole texts: log-probabilities ``[N]``.

    Args:
        log_probs: ``[T, K]`` of one utterance, class 0 the blank.
        texts: N strings; with a letter that is not in ``alphabet``: minus infinity.
        alphabet: letters of the classes from 1 on.
    """
    index = {letter: i for i, letter in enumerate(alphabet, 1)}
    known = [all(letter in index for letter in text) for text in texts]
    spelt = [
        [index[letter] for letter in text] if ok else []
        for text, ok in zip(texts, known, strict=True)
    ]
    device, count = log_probs.device, len(texts)
    letters = [letter for row in spelt for letter in row]
    losses = torch.nn.functional.ctc_loss(
        log_probs.float()[:, None].expand(-1, count, -1),
        torch.tensor(letters, dtype=torch.long, device=device),
        torch.full((count,), len(log_probs), device=device),
        torch.tensor([len(row) for row in spelt], device=device),
        reduction="none",
    )
    unknown = ~torch.tensor(known, device=device)
    return (-losses).masked_fill(unknown, -torch.inf)


def _stay(enter: Tensor, emit: Tensor) -> Tensor:
    """Solve ``x[t] = emit[t] + log(exp(x[t - 1]) + exp(enter[t]))``: ``[M, T + 1]``.

    Column 0 is before any frame. The recurrence unrolls into a cumulative sum.
    """
    total = emit.cumsum(1)
    inside = total + torch.logcumsumexp(enter - (total - emit), 1)
    return torch.nn.functional.pad(inside, (1, 0), value=-torch.inf)

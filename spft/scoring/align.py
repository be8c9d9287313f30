"""Word alignment of a reference with a hypothesis, as sclite makes it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, Self

# sclite's costs; a substitution is dearer than one insertion or deletion but cheaper
# than both, so the word error rate can be a little above that of unit costs.
INSERTION_COST, DELETION_COST, SUBSTITUTION_COST = 3, 3, 4


@dataclass(frozen=True, slots=True)
class AlignedWord:
    """One step of an alignment.

    Attributes:
        op: "C" correct, "S" substituted, "D" deleted or "I" inserted.
        ref: the reference word, None for an insertion.
        hyp: the hypothesis word, None for a deletion.
    """

    op: Literal["C", "S", "D", "I"]
    ref: str | None
    hyp: str | None


@dataclass(frozen=True)
class WordCounts:
    """Counts over one utterance, one speaker or a whole set."""

    sentences: int = 0
    words: int = 0
    correct: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    sentence_errors: int = 0

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    def __add__(self, other: Self) -> Self:
        return type(self)(
            *(getattr(self, f.name) + getattr(other, f.name) for f in fields(self))
        )


def align(ref: Sequence[str], hyp: Sequence[str]) -> list[AlignedWord]:
    """Align two sequences of words at the least cost.

    Ties are broken as in sclite: going back from the end, first a pair of words, then
    an insertion, then a deletion.
    """
    width = len(hyp) + 1
    previous = [INSERTION_COST * j for j in range(width)]
    steps = ["I" * width]  # steps[i][j]: the last step of the best path to (i, j)
    for i, ref_word in enumerate(ref, start=1):
        current, row = [DELETION_COST * i], ["D"]
        for j, hyp_word in enumerate(hyp, start=1):
            same = ref_word == hyp_word
            pair = previous[j - 1] + (0 if same else SUBSTITUTION_COST)
            deletion = previous[j] + DELETION_COST
            insertion = current[j - 1] + INSERTION_COST
            if pair <= deletion and pair <= insertion:
                current.append(pair)
                row.append("C" if same else "S")
            elif deletion < insertion:
                current.append(deletion)
                row.append("D")
            else:
                current.append(insertion)
                row.append("I")
        previous = current
        steps.append("".join(row))
    return _trace_back(ref, hyp, steps)


def _trace_back(
    ref: Sequence[str], hyp: Sequence[str], steps: list[str]
) -> list[AlignedWord]:
    path = []
    i, j = len(ref), len(hyp)
    while i or j:
        op = steps[i][j]
        i -= op != "I"
        j -= op != "D"
        path.append(
            AlignedWord(
                op, None if op == "I" else ref[i], None if op == "D" else hyp[j]
            )
        )
    return path[::-1]


def count(path: Sequence[AlignedWord]) -> WordCounts:
    """Counts of one aligned utterance."""
    ops = [word.op for word in path]
    correct, subs, dels, ins = (ops.count(op) for op in "CSDI")
    return WordCounts(
        sentences=1,
        words=correct + subs + dels,
        correct=correct,
        substitutions=subs,
        deletions=dels,
        insertions=ins,
        sentence_errors=int(subs + dels + ins > 0),
    )

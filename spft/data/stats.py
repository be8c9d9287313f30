"""Counts of prepared sets, for the reader of a data preparation's log."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from spft.data.audio import duration
from spft.data.entities import occurring
from spft.data.utterance import Utterance


@dataclass(frozen=True)
class Stats:
    """What a set holds; ``unseen`` is None where there is nothing to compare with."""

    utterances: int
    words: int
    hours: float | None
    entities: Counter = field(default_factory=Counter)
    unseen: float | None = None

    def __str__(self) -> str:
        parts = [f"{self.utterances} utterances", f"{self.words} words"]
        if self.hours is not None:
            parts.append(f"{self.hours:.2f} h")
        if self.entities:
            kinds = ", ".join(f"{k} {n}" for k, n in sorted(self.entities.items()))
            parts.append(f"{self.entities.total()} entities ({kinds})")
        if self.unseen is not None:
            parts.append(f"{100 * self.unseen:.1f} % unseen in the adaptation text")
        return ", ".join(parts)


def unseen_share(
    utterances: Iterable[Utterance], adaptation: Iterable[Utterance]
) -> float | None:
    """Share of entities whose words never occur together in the adaptation text."""
    wanted = [tuple(e.text.split()) for u in utterances for e in u.entities or ()]
    seen = occurring(set(wanted), (tuple((u.text or "").split()) for u in adaptation))
    return sum(words not in seen for words in wanted) / len(wanted) if wanted else None


def count(
    utterances: list[Utterance], adaptation: list[Utterance] | None = None
) -> Stats:
    """Count a set; with ``adaptation`` text also the entities not seen there."""
    audio = [u.audio for u in utterances if u.audio is not None]
    return Stats(
        len(utterances),
        sum(len((u.text or "").split()) for u in utterances),
        sum(map(duration, audio)) / 3600 if audio else None,
        Counter(e.type for u in utterances for e in u.entities or ()),
        unseen_share(utterances, adaptation) if adaptation is not None else None,
    )

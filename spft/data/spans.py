"""From character spans in raw text to word spans in normalised text."""

from collections.abc import Iterable

from spft.data.entities import Entity
from spft.data.normalize import normalize


def locate(
    text: str, spans: Iterable[tuple[int, int, str]]
) -> tuple[str, list[Entity], int]:
    """Normalise a sentence and carry its entities over.

    Args:
        text: the raw sentence.
        spans: ``(start, end, type)`` in characters, end exclusive.

    Returns:
        The normalised text, its entities in order, and how many entities were lost
        because they do not fall on words (``$5`` cut inside a number and the like).
    """
    normal = normalize(text)
    words = normal.split()
    entities, lost = set(), 0
    for start, end, kind in spans:
        found = _words(text, words, start, end) or _words(
            text, words, *_widen(text, start, end)
        )
        if found:
            first, last = found
            entities.add(Entity(kind, " ".join(words[first:last]), first, last))
        else:
            lost += 1
    return normal, sorted(entities, key=lambda e: (e.start, e.end, e.type)), lost


def _words(text: str, words: list[str], start: int, end: int) -> tuple[int, int] | None:
    """The words between what stands before and after; None if those overlap words."""
    left, right = normalize(text[:start]).split(), normalize(text[end:]).split()
    first, last = len(left), len(words) - len(right)
    if words[:first] == left and words[last:] == right and first < last:
        return first, last
    return None


def _widen(text: str, start: int, end: int) -> tuple[int, int]:
    """Grow a span to white space: ``madonna`` in ``madonna's`` is the whole word."""
    inner = text[start:end]
    start += len(inner) - len(inner.lstrip())
    end -= len(inner) - len(inner.rstrip())
    while 0 < start < end and not text[start - 1].isspace():
        start -= 1
    while start < end < len(text) and not text[end].isspace():
        end += 1
    return start, end

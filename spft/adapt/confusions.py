"""How a recogniser misspells, learnt from its own transcripts of known text.

Words that it does not know are written as they sound: "interfeu", "fraises", "a
cross". Such errors are counted as exchanges of letter chunks ("ph" → "f"), where
possible with the letters on either side, and drawn anew to misspell any text.
"""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from spft.errors import UserError
from spft.files import atomic_write

EDGE = "#"  # before and after a text
MAX_CHUNK = 4  # letters of a chunk; what is longer was not heard at all
MIN_COUNT = 20  # a chunk in a context must have been read so often to count there


class Confusions:
    """Chunks of letters, how often they were read, and what was written for them.

    Args:
        seen: times that a chunk (``"ph"``), or one in its context (``"#|ph|o"``), was
            in the text; an empty chunk is a place between two letters.
        written: the same keys to what was written in its place, and how often.
    """

    def __init__(self, seen: dict[str, int], written: dict[str, dict[str, int]]):
        self.seen, self.written = seen, written

    @classmethod
    def learn(cls, pairs: Iterable[tuple[str, str]]) -> "Confusions":
        """Count the errors in pairs of (text, what the recogniser wrote)."""
        pairs = list(pairs)
        written: dict[str, Counter] = defaultdict(Counter)
        for text, hypothesis in pairs:
            for start, end, wrong in _errors(text, hypothesis):
                if end - start <= MAX_CHUNK and len(wrong) <= MAX_CHUNK + 1:
                    for key in _keys(text, start, end):
                        written[key][wrong] += 1
        seen: Counter = Counter()
        for text, _ in pairs:
            for start in range(len(text) + 1):
                for end in range(start, min(start + MAX_CHUNK, len(text)) + 1):
                    bare, context = _keys(text, start, end)
                    if bare in written:  # a context without errors is known for that
                        seen.update((bare, context))
        return cls(dict(seen), {key: dict(c) for key, c in written.items()})

    @classmethod
    def read(cls, path: str | Path) -> "Confusions":
        """Read what :meth:`write` wrote.

        Raises:
            UserError: there is no such file, or it is another one.
        """
        path = Path(path)
        if not path.exists():
            raise UserError(f"{path}: not found; make it by spft.bin.learn_confusions")
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            return cls(table["seen"], table["written"])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: no table of confusions ({error!r})") from error

    def write(self, path: str | Path) -> None:
        """Write the table as JSON, without contexts too rare to be used."""
        kept = {
            k: n for k, n in sorted(self.seen.items()) if "|" not in k or n >= MIN_COUNT
        }
        table = {
            "seen": kept,
            "written": {key: self.written[key] for key in kept if key in self.written},
        }
        with atomic_write(path) as stream:
            json.dump(table, stream, separators=(",", ":"), ensure_ascii=False)

    def corrupt(self, text: str, scale: float, rng: random.Random) -> str:
        """Return ``text`` misspelt, ``scale`` times as often as the recogniser does."""
        if not scale:
            return text
        out, at = [], 0
        while at <= len(text):
            error = self._draw(text, at, rng.random() / scale)
            if error is not None:
                end, wrong = error
                out.append(wrong)
            if error is None or end == at:  # an insertion: the letter itself is next
                end = at + 1
                out.append(text[at:end])
            at = end
        return " ".join("".join(out).split())

    def _draw(self, text: str, start: int, draw: float) -> tuple[int, str] | None:
        """The error at ``start``, its end and what is written, if ``draw`` hits one."""
        for end in range(start, min(start + MAX_CHUNK, len(text)) + 1):
            bare, context = _keys(text, start, end)
            key = context if self.seen.get(context, 0) >= MIN_COUNT else bare
            for wrong, count in self.written.get(key, {}).items():
                draw -= count / self.seen[key]
                if draw < 0:
                    return end, wrong
        return None


def _keys(text: str, start: int, end: int) -> tuple[str, str]:
    """A chunk by itself and between the letters on either side."""
    before = text[start - 1] if start else EDGE
    after = text[end] if end < len(text) else EDGE
    return text[start:end], f"{before}|{text[start:end]}|{after}"


def _errors(text: str, hypothesis: str) -> list[tuple[int, int, str]]:
    """Start and end of what was misspelt, and what was written for it.

    Errors with one right letter between them at most are one, for they mostly have one
    reason ("view" → "feu").
    """
    from rapidfuzz.distance import Levenshtein

    errors: list[list[int]] = []  # start, end in the text and in the hypothesis
    for _, a, b, c, d in Levenshtein.opcodes(text, hypothesis):
        if text[a:b] == hypothesis[c:d]:
            continue
        if errors and a - errors[-1][1] <= 1:
            errors[-1][1], errors[-1][3] = b, d
        else:
            errors.append([a, b, c, d])
    return [(a, b, hypothesis[c:d]) for a, b, c, d in errors]

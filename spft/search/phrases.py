"""What may have been said instead: phrases of a domain that are spelt alike.

A name that the encoder misheard is often in no hypothesis, and then no language model
can prefer it. But it may stand in the domain's text.
"""

import math
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from spft.data.split import fraction

MAX_WORDS = 4  # words of a phrase where the text's entities are not known
MAX_PHRASES = 100_000  # of these: to look for so many takes a second an utterance
NEAR = (0.2, 0.35)  # distances to look within first
REMEMBERED = 1000  # spellings
STAND_INS = 16  # known names that a new one is judged by
REPLACED = 16  # words at most, one more than the longest phrase has if that is fewer


class Phrases:
    """Phrases to be found by their spelling.

    Args:
        phrases: names of any number of words each, normalised.
        new: those of them that the language models have not met.
        runs: words of the text that are no names, so that none may stand in for one.
        distance: share of the longer of two spellings that may differ, below 1, counted
            in letters without spaces.
    """

    def __init__(
        self,
        phrases: Iterable[str],
        new: Iterable[str] = (),
        runs: Iterable[str] = (),
        distance: float = 0.5,
    ):
        self.known = set(phrases) - {""}
        self.runs = set(runs) - self.known - {""}
        self.new = set(new) - self.known - self.runs - {""}
        self.phrases = sorted(self.known | self.runs | self.new)
        self.distance = distance
        self._new: dict[str, list[list[str]]] = defaultdict(list)  # by first word
        for name in sorted(self.new, key=len, reverse=True):
            self._new[name.split()[0]].append(name.split())
        self._stand_ins = sorted(self.known, key=fraction)[:STAND_INS]
        letters = [phrase.replace(" ", "") for phrase in self.phrases]
        self._numbers = np.array(
            sorted(range(len(letters)), key=lambda i: len(letters[i])), dtype=int
        )
        self._letters = [letters[i] for i in self._numbers]
        self._lengths = [len(word) for word in self._letters]
        self._near_cache: dict[float, dict[str, tuple]] = {}  # what was asked of late
        longest = max((len(phrase.split()) for phrase in self.phrases), default=0)
        self._longest = min(longest + 1, REPLACED)  # names are heard as more words

    @classmethod
    def of(cls, folder: Path) -> "Phrases":
        """The names of a domain, or the phrases of its text where none are known.

        Of a large text the :data:`MAX_PHRASES` frequent ones.

        Args:
            folder: Kaldi directory of the text; its ``entities`` are names, and the
                lines of ``names.txt``, if it has that; those that the text lacks are
                new.

        Raises:
            UserError: there is no text.
        """
        from spft.data.entities import occurring, read_entities
        from spft.data.normalize import normalize
        from spft.data.own_domain import read_lexicon
        from spft.data.table import read_table

        known, listed = set(), set()
        sentences = [
            tuple(text.split()) for text in read_table(folder / "text").values()
        ]
        if (folder / "entities").exists():
            rows = read_entities(folder / "entities").values()
            known = {entity.text for row in rows for entity in row}
        if (folder / "names.txt").exists():
            names = read_lexicon(folder / "names.txt")
            listed = {tuple(normalize(name).split()) for name, _ in names}
            known |= {" ".join(name) for name in occurring(listed, sentences)}
        if known or listed:
            return cls(known, new=map(" ".join, listed))
        runs = Counter(
            " ".join(words[i : i + n])
            for words in sentences
            for n in range(1, MAX_WORDS + 1)
            for i in range(len(words) - n + 1)
        )
        return cls((), runs=[run for run, _ in runs.most_common(MAX_PHRASES)])

    def write(self, path: Path) -> None:
        """Write them, one a line; a tab and ``new`` or ``run`` behind what is that."""
        kinds = {"": self.known, "\trun": self.runs, "\tnew": self.new}
        lines = sorted(p + mark for mark, kind in kinds.items() for p in kind)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Phrases":
        """Read what :meth:`write` wrote."""
        from spft.data.table import read_lines

        kinds: dict[str, list[str]] = {"": [], "new": [], "run": []}
        for line in read_lines(path):
            phrase, _, kind = line.partition("\t")
            kinds[kind].append(phrase)
        return cls(kinds[""], kinds["new"], kinds["run"])

    def with_names(self, names: Iterable[str], met: Iterable[str]) -> "Phrases":
        """These and more names.

        Args:
            names: normalised.
            met: those of them that the language models have met, be it as other words:
                they need no stand-ins.
        """
        met = set(met)
        new = self.new.union(names) - met
        return Phrases(self.known, new, self.runs | met, self.distance)

    def variants(self, text: str, count: int) -> list[str]:
        """The ``count`` closest texts with one run of words changed for a phrase."""
        words = text.split() if count > 0 else []
        spans = [
            (i, j)
            for i in range(len(words))
            for j in range(i + 1, min(len(words), i + self._longest) + 1)
        ]
        variants: list[str] = []
        for limit in (*(c for c in NEAR if c < self.distance), self.distance):
            if len(variants) < count:  # else further phrases are not among the closest
                variants = self._variants(words, spans, limit, count)
        return variants

    def stand_ins(self, text: str) -> list[str]:
        """The text with known phrases in the place of its new ones, one after another.

        Itself alone if nothing in it is new.
        """
        words, at = text.split(), 0
        parts: list[str | None] = []
        while at < len(words):
            phrase = next(
                (
                    n
                    for n in self._new.get(words[at], ())
                    if words[at : at + len(n)] == n
                ),
                None,
            )
            parts.append(None if phrase else words[at])
            at += len(phrase) if phrase else 1
        if None not in parts or not self._stand_ins:
            return [text]
        return [
            " ".join(name if part is None else part for part in parts)
            for name in self._stand_ins
        ]

    def _variants(
        self, words: list[str], spans: list[tuple[int, int]], limit: float, count: int
    ) -> list[str]:
        near = self._near({"".join(words[i:j]) for i, j in spans}, limit)
        hits = [near["".join(words[i:j])] for i, j in spans]
        if not hits:
            return []
        rows = np.repeat(np.arange(len(hits)), [len(phrases) for phrases, _ in hits])
        phrases, distances = map(np.concatenate, zip(*hits, strict=True))
        text, variants = " ".join(words), {}
        for k in np.lexsort((phrases, rows, distances)).tolist():
            i, j = spans[rows[k]]
            changed = [*words[:i], self.phrases[phrases[k]], *words[j:]]
            variant = " ".join(changed)
            if variant != text:
                variants[variant] = None
                if len(variants) == count:
                    break
        return list(variants)

    def _near(self, spellings: set[str], limit: float) -> dict[str, tuple]:
        """Numbers of the phrases within ``limit`` of each spelling, and how far.

        Only phrases of similar length are compared; what was asked of late is kept, for
        most of a text's runs of words are those of its variants too.
        """
        from rapidfuzz.distance import Levenshtein
        from rapidfuzz.process import cdist

        cache = self._near_cache.setdefault(limit, {})
        if len(cache) > REMEMBERED:
            cache.clear()
        asked = sorted(spellings - cache.keys(), key=len)
        while asked:
            shortest = len(asked[0])
            size = bisect_right(asked, shortest * 1.3, key=len)
            band, asked = asked[:size], asked[size:]
            low = bisect_left(self._lengths, math.floor(shortest * (1 - limit)))
            high = bisect_right(self._lengths, math.ceil(len(band[-1]) / (1 - limit)))
            distances = cdist(
                band,
                self._letters[low:high],
                scorer=Levenshtein.normalized_distance,
                score_cutoff=limit,
                dtype=np.float32,
            )
            for spelling, row in zip(band, distances, strict=True):
                near = np.nonzero(row <= limit)[0]
                cache[spelling] = self._numbers[low + near], row[near]
        return {spelling: cache[spelling] for spelling in spellings}

"""What may have been said instead: phrases of a domain that are spelt alike.

A name that the encoder misheard is often in no hypothesis, and then no language model
can prefer it. But it may stand in the domain's text.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

LONGEST = 4  # words of a phrase where the text's entities are not known
REPLACED = 6  # words at most, one more than the longest phrase has if that is fewer


class Phrases:
    """Phrases to be found by their spelling.

    Args:
        phrases: of any number of words each, normalised.
        distance: how much of the longer of two spellings may differ (0 to 1), counted
            in letters without spaces.
    """

    def __init__(self, phrases: Iterable[str], distance: float = 0.5):
        self.phrases = sorted(set(phrases) - {""})
        self.distance = distance
        self._letters = [phrase.replace(" ", "") for phrase in self.phrases]
        longest = max((len(phrase.split()) for phrase in self.phrases), default=0)
        self._longest = min(longest + 1, REPLACED)  # names are heard as more words

    @classmethod
    def of(cls, folder: Path) -> "Phrases":
        """The names of a domain, or all phrases of its text where none are known.

        Args:
            folder: Kaldi directory of the text; its ``entities`` are names, and the
                lines of ``names.txt``, if it has that, whether the text has them or
                not.

        Raises:
            UserError: there is no text.
        """
        from spft.data.entities import read_entities
        from spft.data.normalize import normalize
        from spft.data.own_domain import read_lexicon
        from spft.data.table import read_table

        names: set[str] = set()
        if (folder / "entities").exists():
            rows = read_entities(folder / "entities").values()
            names = {entity.text for row in rows for entity in row}
        if (folder / "names.txt").exists():
            names |= {normalize(name) for name, _ in read_lexicon(folder / "names.txt")}
        if names:
            return cls(names)
        sentences = [text.split() for text in read_table(folder / "text").values()]
        return cls(
            " ".join(words[i : i + n])
            for words in sentences
            for n in range(1, LONGEST + 1)
            for i in range(len(words) - n + 1)
        )

    def variants(self, text: str, count: int) -> list[str]:
        """The ``count`` closest texts with one run of words changed for a phrase."""
        from rapidfuzz.distance import Levenshtein
        from rapidfuzz.process import cdist

        words = text.split() if count > 0 else []
        spans = [
            (i, j)
            for i in range(len(words))
            for j in range(i + 1, min(len(words), i + self._longest) + 1)
        ]
        if not spans or not self.phrases:
            return []
        distances = cdist(
            ["".join(words[i:j]) for i, j in spans],
            self._letters,
            scorer=Levenshtein.normalized_distance,
            score_cutoff=self.distance,
            dtype=np.float32,
        )
        found: dict[str, float] = {}
        rows, columns = np.nonzero(distances <= self.distance)
        values = distances[rows, columns]
        for k in np.argsort(values, kind="stable").tolist():
            i, j = spans[rows[k]]
            changed = [*words[:i], self.phrases[columns[k]], *words[j:]]
            variant = " ".join(changed)
            if variant != text and variant not in found:
                found[variant] = float(values[k])
                if len(found) == count:
                    break
        return list(found)

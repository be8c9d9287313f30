"""Making a mini corpus from authored sources: the split, adaptation text, dev and test.

About a third of the entities is held out: no held-out word sequence ever occurs in
adaptation text, while about half of the entities spoken in dev and test are held out.
"""

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from spft.data.corpus_source import (
    Line,
    Part,
    Record,
    Settings,
    read_lines,
    read_records,
    read_settings,
)
from spft.data.normalize import normalize
from spft.errors import UserError

ADAPT_TRIES, EVAL_TRIES = 12, 60


@dataclass(frozen=True)
class Sentence:
    """Normalised text and its entities, with word spans (end exclusive)."""

    text: str
    entities: tuple[dict, ...] = ()

    @property
    def named(self) -> list[tuple[str, str]]:
        """``(type, text)`` of each entity."""
        return [(entity["type"], entity["text"]) for entity in self.entities]


class WordSequences:
    """A set of word sequences that can be looked for in text."""

    def __init__(self, texts: Iterable[str]):
        self.phrases = {tuple(text.split()) for text in texts}
        self.lengths = sorted({len(phrase) for phrase in self.phrases})

    def found(self, text: str) -> set[str]:
        """The phrases that occur in ``text``, also with a possessive 's."""
        words = text.split()
        hits = set()
        for view in (words, [word.removesuffix("'s") for word in words]):
            for n in self.lengths:
                grams = (tuple(view[i : i + n]) for i in range(len(view) - n + 1))
                hits.update(" ".join(gram) for gram in grams if gram in self.phrases)
        return hits


@dataclass
class Maker:
    """Fills lines with entities; remembers what was used and which records fit."""

    settings: Settings
    entities: dict[str, list[Record]]
    rng: random.Random
    uses: Counter = field(default_factory=Counter)
    fitting: dict = field(default_factory=dict)

    def fill(self, parts: tuple[Part, ...]) -> Sentence | None:
        """One random filling, or None where it fails (length, a repeated entity)."""
        chosen: dict[tuple[str, int], Record] = {}
        words: list[str] = []
        spans, sources = [], {}
        for part in parts:
            text, kind = part.text, part.type
            if text is None:
                key = (part.type, part.index)
                if key not in chosen:
                    chosen[key] = self._choose(key, parts)
                text = chosen[key].value(part.attribute)
                if text is None:
                    return None
                if part.attribute:
                    kind = part.attribute if part.attribute in self.entities else None
            if kind:
                # The same entity from two different slots reads like a mistake.
                if sources.setdefault((kind, text), str(part)) != str(part):
                    return None
                start, end = len(words), len(words) + len(text.split())
                spans.append({"type": kind, "text": text, "start": start, "end": end})
            words.extend(text.split())
        shortest, longest = self.settings.words
        if not shortest <= len(words) <= longest:
            return None
        return Sentence(" ".join(words), tuple(spans))

    def _choose(self, key: tuple[str, int], parts: tuple[Part, ...]) -> Record:
        wanted = {p.attribute for p in parts if (p.type, p.index) == key and not p.text}
        cached = (key[0], frozenset(wanted))
        if cached not in self.fitting:
            records = self.entities[key[0]]
            fitting = [r for r in records if all(map(r.value, wanted))]
            self.fitting[cached] = fitting or records
        return self.rng.choice(self.fitting[cached])

    def take(self, sentence: Sentence) -> Sentence:
        """Count the entities of a sentence that is kept."""
        self.uses.update(sentence.named)
        return sentence


def split_entities(
    entities: dict[str, list[Record]],
    lines: list[Line],
    share: float,
    rng: random.Random,
) -> set[str]:
    """Choose the held-out texts: ``share`` of each type, none named literally in lines.

    Raises:
        UserError: the lines name so many entities that too few can be held out.
    """
    phrases = WordSequences(r.text for of_type in entities.values() for r in of_type)
    pinned = set()
    for variant in {variant for line in lines for variant in line.variants}:
        # "{" is no word, so that nothing is found across a slot.
        literal = " ".join("{" if part.text is None else part.text for part in variant)
        pinned |= phrases.found(literal)
    held_out = set()
    for name, records in entities.items():
        free = [record.text for record in records if record.text not in pinned]
        wanted = round(share * len(records))
        if len(free) < wanted:
            raise UserError(
                f"entities.yaml:1: {wanted} of {len(records)} of type {name} are to be "
                f"held out, but only {len(free)} are not named in adaptation lines; "
                "add entities or name fewer"
            )
        held_out.update(rng.sample(free, wanted))
    return held_out


def adaptation_text(
    maker: Maker, sentences: list[Line], frames: list[Line], held_out: set[str]
) -> list[Sentence]:
    """Every free sentence once, then frames in turn, until the wanted size."""
    forbidden, size = WordSequences(held_out), maker.settings.sizes["adapt"]
    kept: dict[str, Sentence] = {}

    def often(sentence: Sentence) -> int:
        return max((maker.uses[key] for key in sentence.named), default=0)

    def best(line: Line, tries: int) -> Sentence | None:
        drawn = [maker.fill(maker.rng.choice(line.variants)) for _ in range(tries)]
        fresh = [s for s in drawn if s and s.text not in kept]
        # Rarely used entities first, so that all that are not held out are seen.
        ranked = sorted(fresh, key=often)
        return next((s for s in ranked if not forbidden.found(s.text)), None)

    for line in sentences:
        sentence = best(line, ADAPT_TRIES)
        if sentence is None:
            shortest, longest = maker.settings.words
            raise UserError(
                f"{line.where}: repeated, or not {shortest} to {longest} words; change"
            )
        kept[sentence.text] = maker.take(sentence)
    with tqdm(total=size, initial=len(kept), desc="adaptation text") as progress:
        while len(kept) < size:
            before = len(kept)
            for line in maker.rng.sample(frames, len(frames)):
                if len(kept) < size and (sentence := best(line, ADAPT_TRIES)):
                    kept[sentence.text] = maker.take(sentence)
            if len(kept) == before:
                raise UserError(
                    f"adapt_frames.txt:1: only {before} of {size} sentences can be "
                    "made; add frames"
                )
            progress.update(len(kept) - before)
    return maker.rng.sample(list(kept.values()), size)


def evaluation_text(
    maker: Maker, lines: list[Line], adaptation: list[Sentence]
) -> dict[str, list[Sentence]]:
    """Dev and test sentences, each from its own line, with the wanted unseen share."""
    texts = {sentence.text for sentence in adaptation}
    seen = WordSequences(r.text for of_type in maker.entities.values() for r in of_type)
    seen = set().union(*(seen.found(text) for text in texts))
    target = maker.settings.unseen_occurrences
    queue = iter(maker.rng.sample(lines, len(lines)))
    chosen: dict[str, list[Sentence]] = {}
    for name in ("dev", "test"):
        balance: Counter = Counter()

        def cost(sentence: Sentence, balance: Counter = balance) -> float:
            after = balance.copy()
            for kind, text in sentence.named:
                after[kind] += (text not in seen) - target
            off = sum(abs(value) for value in after.values())
            return off + sum(maker.uses[key] for key in sentence.named)

        chosen[name] = []
        while len(chosen[name]) < maker.settings.sizes[name]:
            line = next(queue, None)
            if line is None:
                raise UserError(
                    f"eval_frames.txt:1: {len(lines)} lines do not make "
                    f"{maker.settings.sizes} sentences; add lines"
                )
            tries = range(EVAL_TRIES)
            drawn = [maker.fill(maker.rng.choice(line.variants)) for _ in tries]
            drawn = [s for s in drawn if s and s.text not in texts]
            if drawn:
                sentence = maker.take(min(drawn, key=cost))
                for kind, text in sentence.named:
                    balance[kind] += (text not in seen) - target
                texts.add(sentence.text)
                chosen[name].append(sentence)
    return chosen


def check_independent(adaptation: list[Line], evaluation: list[Line]) -> None:
    """Raise UserError where an evaluation line is worded like an adaptation line."""
    known = {
        " ".join(map(str, v)): line.where for line in adaptation for v in line.variants
    }
    for line in evaluation:
        for variant in line.variants:
            if other := known.get(" ".join(map(str, variant))):
                raise UserError(
                    f"{line.where}: worded like {other}; word it differently"
                )


def make_corpus(source: Path) -> dict[str, list[dict]]:
    """Make the rows of ``adapt``, ``dev`` and ``test`` from a folder of sources."""
    settings = read_settings(source / "corpus.yaml")
    entities = read_records(source / "entities.yaml")
    names = ("adapt_sentences", "adapt_frames", "eval_frames")
    sentences, frames, evaluation = (
        read_lines(source / f"{name}.txt", entities) for name in names
    )
    check_independent(sentences + frames, evaluation)
    rng = random.Random(settings.seed)
    held_out = split_entities(entities, sentences + frames, settings.held_out, rng)
    adapt = adaptation_text(Maker(settings, entities, rng), sentences, frames, held_out)
    chosen = evaluation_text(Maker(settings, entities, rng), evaluation, adapt)
    for sentence in adapt + chosen["dev"] + chosen["test"]:
        if normalize(sentence.text) != sentence.text:
            raise UserError(
                f"{source}: {sentence.text!r} is not normalised text; respell"
            )
    identify = f"{settings.domain}-adapt-{{:04d}}".format
    rows = {"adapt": [row(identify(i), s) for i, s in enumerate(adapt, 1)]}
    for name, kept in chosen.items():
        speakers, rows[name] = settings.speakers[name], []
        for i, sentence in enumerate(kept, 1):
            speaker = speakers[i % len(speakers)]
            # Kaldi wants utterance ids to begin with the speaker.
            made = row(f"{speaker}-{settings.domain}-{name}-{i:04d}", sentence)
            rate = round(rng.uniform(*settings.rate), 2)
            rows[name].append(made | {"speaker": speaker, "rate": rate})
        rows[name].sort(key=lambda made: made["id"])
    return rows


def row(utterance: str, sentence: Sentence) -> dict:
    """One line of the corpus files."""
    return {
        "id": utterance,
        "text": sentence.text,
        "entities": list(sentence.entities),
    }

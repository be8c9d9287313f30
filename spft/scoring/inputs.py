"""What scoring reads: references, hypotheses, speakers and reference entities."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from spft.data.entities import Entity, check_span, read_entities
from spft.data.normalize import normalize
from spft.data.table import read_table
from spft.errors import UserError

Words = tuple[str, ...]
Transcripts = dict[str, Words]


@dataclass(frozen=True)
class ScoringSet:
    """A decoded test set, normalised.

    Attributes:
        hyps: words of each utterance.
        refs: the same; None where the set has no transcripts.
        speakers: speaker of each utterance.
        entities: entities of the utterances that have any, without spans where there
            are no transcripts; None where the set has no ``entities`` file.
    """

    hyps: Transcripts
    refs: Transcripts | None
    speakers: dict[str, str]
    entities: dict[str, list[Entity]] | None


def read_transcripts(path: Path) -> Transcripts:
    """Read a Kaldi ``text`` file: utterance -> normalised words, perhaps none."""
    table = read_table(path, allow_empty=True)
    return {utt: tuple(normalize(text).split()) for utt, text in table.items()}


def read_scoring_set(data: Path, decode: Path) -> ScoringSet:
    """Read a data directory and what was recognised of it.

    Raises:
        UserError: a file is missing or malformed, or hypotheses are missing or extra.
    """
    hyps = read_transcripts(decode / "text")
    refs = entities = None
    if (data / "text").is_file():
        refs = read_transcripts(data / "text")
    if (data / "entities").is_file():
        entities = reference_entities(data / "entities", refs)
    if refs is not None:
        expected = sorted(refs)
    elif entities is not None:
        # An utterance without entities need not stand in `entities`.
        wavs = data / "wav.scp"
        expected = sorted(read_table(wavs) if wavs.is_file() else entities)
        if unknown := sorted(entities.keys() - set(expected)):
            raise UserError(f"{data}/entities: {unknown[0]!r} is not in wav.scp; "
                            "remove the line")  # fmt: skip
    else:
        raise UserError(f"{data}: neither text nor entities; run data preparation")
    _check_same(expected, hyps, decode / "text")
    utt2spk = data / "utt2spk"
    speakers = read_table(utt2spk) if utt2spk.is_file() else {}
    return ScoringSet(
        hyps={utt: hyps[utt] for utt in expected},
        refs=None if refs is None else {utt: refs[utt] for utt in expected},
        speakers={utt: speakers.get(utt, "all") for utt in expected},
        entities=entities,
    )


def reference_entities(path: Path, refs: Transcripts | None) -> dict[str, list[Entity]]:
    """Read ``entities``, normalised; without transcripts their spans are left out.

    Raises:
        UserError: one has no words, no transcript, or is not what stands in its span.
    """
    annotated, entities = read_entities(path), {}
    for utt, items in annotated.items():
        where = annotated.where(utt)
        if refs is not None and utt not in refs:
            raise UserError(f"{where}: {utt!r} has no transcript; remove the line")
        normal = [replace(entity, text=normalize(entity.text)) for entity in items]
        for entity, raw in zip(normal, items, strict=True):
            if not entity.text:
                raise UserError(f"{where}: entity {raw.text!r} has no words; mend it")
            if refs is not None:
                # A stale span would silently judge the wrong words.
                check_span(entity, " ".join(refs[utt]), where)
        if refs is None:
            normal = [replace(entity, start=None, end=None) for entity in normal]
        entities[utt] = normal
    return entities


def _check_same(expected: Iterable[str], hyps: Iterable[str], path: Path) -> None:
    for problem, utts, advice in (
        ("no hypothesis for", set(expected) - set(hyps), "decode the whole set again"),
        (
            "hypotheses of unknown",
            set(hyps) - set(expected),
            "is this the right --data?",
        ),
    ):
        if utts:
            names = ", ".join(sorted(utts)[:5]) + (", …" if len(utts) > 5 else "")
            raise UserError(
                f"{path}: {problem} {len(utts)} utterances: {names}; {advice}"
            )

"""Entity error rate: of the reference entities, the share not recognised.

With a span in the transcript, an entity is right if all of its words are aligned as
correct and nothing is inserted inside it. With its value only, it is right if its word
sequence occurs in the hypothesis, each occurrence used once.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spft.data.entities import Entity, occurring
from spft.files import atomic_write
from spft.scoring.align import AlignedWord, align
from spft.scoring.inputs import Transcripts, Words


@dataclass(frozen=True)
class JudgedEntity:
    """One reference entity and what became of it.

    Attributes:
        utt: its utterance.
        entity: the reference.
        right: whether it was recognised.
        found: the hypothesis words in its place; of a missing value, the words of the
            hypothesis that are most like it.
        seen: whether it occurs in the adaptation text; None if that is not known.
    """

    utt: str
    entity: Entity
    right: bool
    found: Words
    seen: bool | None = None


def words(entity: Entity) -> Words:
    """The entity's words."""
    return tuple(entity.text.split())


def judge_entities(
    refs: Transcripts | None,
    hyps: Transcripts,
    entities: Mapping[str, Sequence[Entity]],
    adaptation_text: Iterable[Words] | None = None,
) -> list[JudgedEntity]:
    """Judge every entity; ``adaptation_text`` (normalised) tells seen from unseen."""
    wanted = {words(entity) for items in entities.values() for entity in items}
    seen = None if adaptation_text is None else occurring(wanted, adaptation_text)
    judged = []
    for utt, items in entities.items():
        values = [entity for entity in items if entity.start is None]
        by_value = iter(judge_values(values, hyps[utt]))
        path = align(refs[utt], hyps[utt]) if len(values) < len(items) else []
        for entity in items:
            if entity.start is None:
                right, found = next(by_value)
            else:
                right, found = judge_span(path, entity.start, entity.end)
            known = None if seen is None else words(entity) in seen
            judged.append(JudgedEntity(utt, entity, right, found, known))
    return judged


def judge_span(path: list[AlignedWord], start: int, end: int) -> tuple[bool, Words]:
    """Judge reference words ``start`` to ``end`` (exclusive) of an alignment.

    Returns:
        Whether all are correct with nothing inserted between them, and the hypothesis
        words that stand in their place.
    """
    position, right, found = 0, True, []
    for word in path:
        inside = start <= position < end
        if word.ref is None:
            inside = start < position < end
        else:
            position += 1
        if inside:
            right = right and word.op == "C"
            if word.hyp is not None:
                found.append(word.hyp)
    return right, tuple(found)


def judge_values(entities: Sequence[Entity], hyp: Words) -> list[tuple[bool, Words]]:
    """Judge entities of one utterance by their values; see :func:`judge_span`.

    Longer entities choose first, and no word serves two of them, so that "york" is not
    found in the words that made "new york" right.
    """
    free = [True] * len(hyp)
    judged = {}
    order = sorted(range(len(entities)), key=lambda i: -len(words(entities[i])))
    for index in order:
        wanted = words(entities[index])
        n = len(wanted)
        for i in range(len(hyp) - n + 1):
            if hyp[i : i + n] == wanted and all(free[i : i + n]):
                free[i : i + n] = [False] * n
                judged[index] = (True, wanted)
                break
        else:
            judged[index] = (False, most_like(wanted, hyp))
    return [judged[index] for index in range(len(entities))]


def most_like(wanted: Words, hyp: Words) -> Words:
    """The run of hypothesis words that differs in the fewest letters."""
    from rapidfuzz.distance import Levenshtein

    shortest = max(1, min(len(wanted) - 1, len(hyp)))
    lengths = range(shortest, len(wanted) + 2)
    runs = [hyp[i : i + n] for n in lengths for i in range(len(hyp) - n + 1)]
    text = " ".join(wanted)
    return min(
        runs, key=lambda run: Levenshtein.distance(text, " ".join(run)), default=()
    )


def rates(judged: Collection[JudgedEntity]) -> dict:
    """``entities``, ``errors`` and ``eer`` in percent (None of no entities)."""
    errors = sum(not item.right for item in judged)
    eer = 100 * errors / len(judged) if judged else None
    return {"entities": len(judged), "errors": errors, "eer": eer}


def summarize(judged: Collection[JudgedEntity]) -> dict:
    """All rates: overall, ``seen``, ``unseen``, ``by_type``; and how it was judged."""
    spans = sum(item.entity.start is not None for item in judged)
    types = sorted({item.entity.type for item in judged})
    return {
        **rates(judged),
        "by_span": spans,
        "by_value": len(judged) - spans,
        **_seen_rates(judged),
        "by_type": {
            name: {**rates(items), **_seen_rates(items)}
            for name in types
            for items in [[item for item in judged if item.entity.type == name]]
        },
    }


def _seen_rates(judged: Collection[JudgedEntity]) -> dict:
    return {
        "seen": rates([item for item in judged if item.seen]),
        "unseen": rates([item for item in judged if item.seen is False]),
    }


def write_entity_scores(
    judged: Sequence[JudgedEntity], utterances: Iterable[str], out: Path
) -> dict:
    """Write ``result.txt``, ``result.json`` and ``errors.tsv``; return the summary.

    ``result.json`` also holds ``[errors, entities]`` of every utterance that has any.
    """
    summary = summarize(judged)
    per_utterance = {utt: [0, 0] for utt in utterances}
    for item in judged:
        per_utterance[item.utt][0] += not item.right
        per_utterance[item.utt][1] += 1
    used = {utt: counts for utt, counts in per_utterance.items() if counts[1]}
    with atomic_write(out / "result.json") as stream:
        json.dump({**summary, "utterances": used}, stream, indent=1)
    with atomic_write(out / "result.txt") as stream:
        stream.write(_result_table(summary))
    with atomic_write(out / "errors.tsv") as stream:
        print("utt", "type", "ref", "recognised", "seen", sep="\t", file=stream)
        for item in judged:
            if not item.right:
                seen = {True: "seen", False: "unseen", None: "-"}[item.seen]
                cells = [item.utt, item.entity.type, item.entity.text]
                print(*cells, " ".join(item.found), seen, sep="\t", file=stream)
    return summary


def _result_table(summary: dict) -> str:
    def row(name: str, part: dict) -> str:
        cells = [name]
        for rate in (part, part["seen"], part["unseen"]):
            eer = "–" if rate["eer"] is None else f"{rate['eer']:.1f}"
            cells += [str(rate["entities"]), str(rate["errors"]), eer]
        return f"|{'|'.join(cells)}|"

    return "\n".join(
        [
            "|type|Ent|Err|EER|Seen|Err|EER seen|Unseen|Err|EER unseen|",
            "|---|---|---|---|---|---|---|---|---|---|",
            *(row(name, part) for name, part in summary["by_type"].items()),
            row("Sum/Avg", summary),
            "",
            f"{summary['by_span']} entities judged by their span in the alignment, "
            f"{summary['by_value']} by the occurrence of their value.",
            "",
        ]
    )

"""Sentences with names that a text lacks, made of those that it has.

A list of names (drugs, artists, contacts) does not say how they are spoken of, and an
n-gram that never met a name speaks against it. So each takes the place of another of
its kind, once; class-based language models do the same by their classes.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from spft.data.entities import Entity
from spft.data.leak import find_leaks
from spft.data.normalize import normalize
from spft.data.split import fraction
from spft.data.utterance import Utterance

TRIES = 10  # sentences for a name, until one is no evaluation sentence


def sentences_of_names(
    utterances: Sequence[Utterance],
    names: Iterable[tuple[str, str]],
    evaluation: Iterable[str],
) -> list[Utterance]:
    """One sentence for each name that no entity of the text is.

    Args:
        utterances: of the text. A name takes the place of an entity of its type, or of
            any where the text has none of that type; it stands alone where there is no
            entity at all.
        names: each with its type.
        evaluation: sentences of dev and test, which are not made.
    """
    slots: dict[str, list[tuple[Utterance, Entity]]] = defaultdict(list)
    known = set()
    for utterance in utterances:
        for entity in utterance.entities or ():
            known.add(entity.text)
            if entity.start is not None:
                slots[entity.type].append((utterance, entity))
    everywhere = [slot for of_type in slots.values() for slot in of_type]
    wanted = {normalize(name): kind for name, kind in names}
    wanted = {name: kind for name, kind in wanted.items() if name not in known}
    evaluation, made = list(evaluation), []
    for attempt in range(TRIES):
        drawn = {}
        for name, kind in wanted.items():
            places = slots.get(kind) or everywhere
            place = None
            if places:
                place = places[int(fraction(f"{name} {attempt}") * len(places))]
            drawn[name] = _put(name, kind, place)
        leaks = find_leaks({name: u.text for name, u in drawn.items()}, evaluation)
        made += [u for name, u in drawn.items() if name not in leaks]
        wanted = {name: wanted[name] for name in leaks}
    return made


def _put(name: str, kind: str, place: tuple[Utterance, Entity] | None) -> Utterance:
    key = f"name-{name.replace(' ', '_')}"
    words = name.split()
    if place is None:
        return Utterance(key, name, entities=(Entity(kind, name, 0, len(words)),))
    utterance, entity = place
    before = utterance.text.split()
    text = " ".join([*before[: entity.start], name, *before[entity.end :]])
    put = Entity(entity.type, name, entity.start, entity.start + len(words))
    longer = put.end - entity.end
    others = [
        Entity(e.type, e.text, e.start + longer, e.end + longer)
        if e.start >= entity.end
        else e
        for e in utterance.entities
        if e is not entity and e.start is not None
    ]
    entities = sorted([*others, put], key=lambda e: e.start)
    return Utterance(key, text, entities=tuple(entities))

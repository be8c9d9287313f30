"""The ``entities`` file: ``utt_id<TAB>[{"type", "text", "start", "end"}, …]``.

Start and end are word indices (end exclusive) in the normalised transcript; both are
left out where only values are known.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from spft.data.table import Table, read_table
from spft.errors import UserError
from spft.files import atomic_write

_KEYS = {"type", "text", "start", "end"}


@dataclass(frozen=True)
class Entity:
    """A named thing in a sentence; ``words[start:end] == text.split()`` if located."""

    type: str
    text: str
    start: int | None = None
    end: int | None = None

    def as_dict(self) -> dict:
        return {key: value for key, value in asdict(self).items() if value is not None}


def parse_entity(fields: object, where: str) -> Entity:
    """Make an Entity of a JSON object; raise UserError naming ``where``."""
    if not isinstance(fields, dict) or not {"type", "text"} <= set(fields) <= _KEYS:
        raise UserError(
            f'{where}: an entity is {{"type", "text", "start", "end"}} (start and end '
            f"may be absent), not {json.dumps(fields, ensure_ascii=False)}; mend it"
        )
    entity = Entity(**fields)
    for key in ("type", "text"):
        value = getattr(entity, key)
        if not isinstance(value, str) or not value.strip():
            raise UserError(f"{where}: an entity's {key} is empty; fill it in")
    span = (entity.start, entity.end)
    if span != (None, None) and not all(type(value) is int for value in span):
        raise UserError(
            f"{where}: start and end of entity {entity.text!r} are not two integers; "
            "give both as word indices or leave both out"
        )
    return entity


def parse_entities(items: object, where: str) -> list[Entity]:
    """Make Entities of a JSON list; raise UserError naming ``where``."""
    if not isinstance(items, list):
        raise UserError(f"{where}: not a list of entities; write [] if there are none")
    return [parse_entity(item, where) for item in items]


def check_span(entity: Entity, text: str, where: str) -> None:
    """Raise UserError unless the entity's span lies in ``text`` and reads like it."""
    if entity.start is None or entity.end is None:
        return
    words = text.split()
    if not 0 <= entity.start < entity.end <= len(words):
        raise UserError(
            f"{where}: span {entity.start}:{entity.end} of entity {entity.text!r} is "
            f"outside its sentence of {len(words)} words; count words from 0, end "
            "exclusive"
        )
    found = " ".join(words[entity.start : entity.end])
    if found != entity.text:
        raise UserError(
            f"{where}: entity {entity.text!r} has span {entity.start}:{entity.end}, "
            f"where the text says {found!r}; mend the text or the span"
        )


def read_entities(
    path: str | Path, *, check_sorted: bool = True
) -> Table[list[Entity]]:
    """Read an entities file: utterance id -> entities (an empty list is kept).

    Args:
        path: the file.
        check_sorted: refuse ids that are not in the order of the C locale.

    Raises:
        UserError: file missing, not UTF-8, unsorted, duplicate or malformed lines.
    """
    table = read_table(path, check_sorted=check_sorted)
    entities: Table[list[Entity]] = Table(table.path)
    entities.lines = table.lines
    for key, value in table.items():
        where = table.where(key)
        try:
            items = json.loads(value)
        except json.JSONDecodeError as error:
            raise UserError(
                f"{where}: not JSON after the utterance id ({error.msg}); "
                "write `utt_id<TAB>[…]`"
            ) from None
        entities[key] = parse_entities(items, where)
    return entities


def write_entities(path: str | Path, entities: Mapping[str, Sequence[Entity]]) -> None:
    """Write an entities file, sorted by utterance id."""
    with atomic_write(path) as stream:
        for key in sorted(entities):
            items = [entity.as_dict() for entity in entities[key]]
            stream.write(f"{key}\t{json.dumps(items, ensure_ascii=False)}\n")


def occurring(
    wanted: Collection[tuple[str, ...]], lines: Iterable[tuple[str, ...]]
) -> set[tuple[str, ...]]:
    """Those of the word sequences that occur in some line."""
    wanted = set(wanted)
    lengths = {len(phrase) for phrase in wanted}
    found = set()
    for line in lines:
        for n in lengths:
            windows = (line[i : i + n] for i in range(len(line) - n + 1))
            found.update(words for words in windows if words in wanted)
    return found

"""Reading the authored sources of a mini corpus: settings, entities, sentence lines.

A line is text with slots ``{track}``, ``{track.artist}``, ``{artist:2}``, annotated
entities ``[abba](artist)`` and alternatives ``<play|put on>``.
"""

import itertools
import re
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from spft.data.normalize import normalize
from spft.errors import UserError

PART = re.compile(
    r"\{(?P<slot>[^{}]*)\}|\[(?P<text>[^\[\]]*)\]\((?P<type>[^()]*)\)|(?P<word>[^\s{\[]+)"
)
SLOT = re.compile(r"(?P<type>\w+?)(?::(?P<index>\d+))?(?:\.(?P<attribute>\w+))?")
MAX_VARIANTS = 500


@dataclass(frozen=True)
class Settings:
    """What ``corpus.yaml`` holds; every key is needed."""

    domain: str
    seed: int
    held_out: float
    unseen_occurrences: float
    words: tuple[int, int]
    sizes: dict[str, int]
    rate: tuple[float, float]
    speakers: dict[str, list[str]]


@dataclass(frozen=True)
class Record:
    """An entity and the things it belongs to."""

    text: str
    attributes: tuple[tuple[str, str], ...] = ()

    def value(self, attribute: str | None) -> str | None:
        """The text itself, or that of an attribute, or None if it has none."""
        return dict(self.attributes).get(attribute) if attribute else self.text


@dataclass(frozen=True)
class Part:
    """Literal text (``type`` may be None) or a slot (``text`` is None)."""

    text: str | None = None
    type: str | None = None
    index: int = 1
    attribute: str | None = None

    def __str__(self) -> str:
        if self.text is None:
            return f"{{{self.type}:{self.index}.{self.attribute}}}"
        return self.text


@dataclass(frozen=True)
class Line:
    """One authored line: where it stands and its variants, each a tuple of parts."""

    where: str
    variants: tuple[tuple[Part, ...], ...]


def check_words(text: str, where: str) -> str:
    """Return ``text``; raise UserError unless it is in normal form."""
    if not text or normalize(text) != text:
        raise UserError(
            f"{where}: {text!r} is not in normal form; write {normalize(text)!r}"
        )
    return text


def read_source(path: Path) -> str:
    """The text of a file; raise UserError if it is not there."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; every corpus needs it")
    return path.read_text(encoding="utf-8")


def compose(path: Path) -> yaml.MappingNode:
    """Read YAML as nodes, which know their lines; UserError if it is no mapping."""
    try:
        root = yaml.compose(read_source(path))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{path}:{line}: {error.problem}; mend the YAML") from None
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"{path}:1: not `name: value` lines; see another corpus")
    return root


def read_settings(path: Path) -> Settings:
    """Read ``corpus.yaml``; missing and unknown keys are errors."""
    compose(path)
    loaded = yaml.safe_load(read_source(path))
    known = {field.name for field in fields(Settings)}
    for word, keys in (
        ("missing", known - set(loaded)),
        ("unknown", set(loaded) - known),
    ):
        if keys:
            raise UserError(f"{path}:1: {word} keys: {', '.join(sorted(keys))}")
    for name, wanted in (
        ("speakers", {"dev", "test"}),
        ("sizes", {"adapt", "dev", "test"}),
    ):
        if not isinstance(loaded[name], dict) or set(loaded[name]) != wanted:
            raise UserError(f"{path}:1: {name} must name {', '.join(sorted(wanted))}")
    if shared := set(loaded["speakers"]["dev"]) & set(loaded["speakers"]["test"]):
        raise UserError(f"{path}:1: speakers of both dev and test: {sorted(shared)}")
    return Settings(**loaded)


def read_records(path: Path) -> dict[str, list[Record]]:
    """Read ``entities.yaml``: type -> records, in the order of the file."""
    # Nodes, not values: a band named "yes" stays text.
    records: dict[str, dict[str, Record]] = {}
    for key, items in compose(path).value:
        if not isinstance(items, yaml.SequenceNode):
            line = key.start_mark.line + 1
            raise UserError(f"{path}:{line}: {key.value} needs a list of records")
        records[key.value] = {}
        for node in items.value:
            where = f"{path}:{node.start_mark.line + 1}"
            record = _record(node, where)
            if record.text in records[key.value]:
                raise UserError(f"{where}: {record.text!r} is there twice; remove one")
            records[key.value][record.text] = record
    for record in [r for of_type in records.values() for r in of_type.values()]:
        for name, text in record.attributes:
            if name in records:
                records[name].setdefault(text, Record(text))
    return {name: list(of_type.values()) for name, of_type in records.items()}


def _record(node: yaml.Node, where: str) -> Record:
    if isinstance(node, yaml.ScalarNode):
        return Record(check_words(node.value, where))
    if not isinstance(node, yaml.MappingNode) or any(
        not isinstance(value, yaml.ScalarNode) for _, value in node.value
    ):
        raise UserError(f"{where}: a record is text or {{text: ..., attribute: ...}}")
    values = {key.value: check_words(value.value, where) for key, value in node.value}
    if "text" not in values:
        raise UserError(f"{where}: a record without `text`; add it")
    return Record(values.pop("text"), tuple(values.items()))


def read_lines(path: Path, entities: dict[str, list[Record]]) -> list[Line]:
    """Read sentence lines, checked against the entity types and attributes."""
    lines = []
    for number, raw in enumerate(read_source(path).splitlines(), 1):
        if raw.strip() and not raw.startswith("#"):
            lines.append(parse_line(raw, f"{path}:{number}", entities))
    return lines


def parse_line(raw: str, where: str, entities: dict[str, list[Record]]) -> Line:
    """Parse one line; raise UserError naming ``where`` if it is malformed."""
    pieces = re.split(r"<([^<>]*)>", raw)
    choices = [p.split("|") if i % 2 else [p] for i, p in enumerate(pieces)]
    expanded = list(itertools.islice(itertools.product(*choices), MAX_VARIANTS + 1))
    if len(expanded) > MAX_VARIANTS:
        raise UserError(f"{where}: more than {MAX_VARIANTS} variants; split the line")
    return Line(where, tuple(_parts("".join(p), where, entities) for p in expanded))


def _parts(
    text: str, where: str, entities: dict[str, list[Record]]
) -> tuple[Part, ...]:
    parts, position = [], 0
    text = " ".join(text.split())
    while position < len(text):
        match = PART.match(text, position)
        end = match.end() if match else position
        if not match or (end < len(text) and text[end] != " "):
            raise UserError(
                f"{where}: cannot read {text[position:]!r}; slots and annotations are "
                "whole words: {type}, {type.attribute}, [text](type)"
            )
        parts.append(_part(match, where, entities))
        position = end + 1
    if not parts:
        raise UserError(f"{where}: a variant without words; remove it")
    return tuple(parts)


def _part(match: re.Match, where: str, entities: dict[str, list[Record]]) -> Part:
    if match["word"]:
        return Part(check_words(match["word"], where))
    if match["slot"] is None:
        part = Part(check_words(match["text"], where), match["type"])
    elif slot := SLOT.fullmatch(match["slot"]):
        part = Part(None, slot["type"], int(slot["index"] or 1), slot["attribute"])
    else:
        raise UserError(
            f"{where}: bad slot {match[0]}; write {{type}} or {{type:2.name}}"
        )
    if part.type not in entities:
        known = ", ".join(entities)
        raise UserError(f"{where}: unknown type in {match[0]}; known types: {known}")
    if not any(record.value(part.attribute) for record in entities[part.type]):
        raise UserError(
            f"{where}: unknown attribute in {match[0]}: no {part.type} has it; "
            "add it to entities.yaml or change the slot"
        )
    return part

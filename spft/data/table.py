"""Kaldi tables: ``key value`` lines, sorted by key in the C locale.

That is the order of bytes, which for UTF-8 is also that of Python's strings.
"""

import codecs
from pathlib import Path

from spft.errors import UserError
from spft.files import atomic_write


class Table[Value](dict[str, Value]):
    """A Kaldi table, or what was read out of one, that knows where each key stood."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        self.lines: dict[str, int] = {}

    def where(self, key: str) -> str:
        """``file:line`` of a key."""
        return f"{self.path}:{self.lines[key]}"


def read_lines(path: str | Path) -> list[str]:
    """The lines of a UTF-8 file; UserError if it is missing or not UTF-8."""
    try:
        raw = Path(path).read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise UserError(f"{path}: no such file; check the path") from None
    lines, coding = [], "latin1"
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        coding = "utf-16"
    for number, line in enumerate(raw.split(b"\n"), 1):
        if b"\0" in line and coding == "latin1":
            raise UserError(
                f"{path}:{number}: holds a zero byte; text? If it is UTF-16, convert "
                "the file, e.g. with `iconv -f utf-16le -t utf-8`"
            )
        try:
            lines.append(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except UnicodeDecodeError:
            raise UserError(
                f"{path}:{number}: not UTF-8; convert the file, e.g. with "
                f"`iconv -f {coding} -t utf-8`"
            ) from None
    if lines[-1] == "":
        lines.pop()
    return lines


def read_table(
    path: str | Path, *, allow_empty: bool = False, check_sorted: bool = True
) -> Table[str]:
    """Read ``key value`` lines.

    Args:
        path: the table.
        allow_empty: accept keys without a value (hypotheses may be empty).
        check_sorted: refuse keys that are not in the order of the C locale.

    Raises:
        UserError: file missing, not UTF-8, blank line, unsorted or duplicate key,
            or, unless allowed, a key without value.
    """
    table: Table[str] = Table(Path(path))
    last = None
    for number, line in enumerate(read_lines(path), 1):
        where, parts = f"{path}:{number}", line.split(maxsplit=1)
        if not parts:
            raise UserError(f"{where}: blank line; remove it")
        key, value = parts[0], parts[1].strip() if len(parts) > 1 else ""
        if not value and not allow_empty:
            raise UserError(
                f"{where}: nothing after {key!r}; complete the line or remove the "
                "utterance"
            )
        if key in table:
            raise UserError(
                f"{where}: duplicate {key!r}, first on line {table.lines[key]}; keep "
                "one of them"
            )
        if check_sorted and last is not None and key < last:
            raise UserError(
                f"{where}: {key!r} after {last!r} is not sorted; run "
                f"`LC_ALL=C sort -o {path} {path}`"
            )
        table[key], table.lines[key], last = value, number, key
    return table


def write_table(path: str | Path, table: dict[str, str]) -> None:
    """Write ``key value`` lines, sorted."""
    with atomic_write(path) as stream:
        stream.writelines(f"{key} {table[key]}\n" for key in sorted(table))

"""Reading the JSON files of corpora with errors that name file and line."""

import codecs
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from spft.data.table import read_lines
from spft.errors import UserError

AUDIO_SUFFIXES = (".flac", ".ogg", ".opus", ".mp3", ".wav")
_log = logging.getLogger(__name__)


def files_in(folder: Path) -> list[Path]:
    """What files are in a folder and those below it, also through links, sorted.

    Not what is hidden or in a hidden folder: macOS leaves ._call.wav beside call.wav.
    """
    found, seen = [], set()
    for root, folders, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(root)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(root, name) for name in files if not name.startswith(".")]
    return sorted(found)


def _invalid_as_latin1(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("latin-1"), error.end


# Files that mix both encodings exist: only the bytes that are no UTF-8 are Latin-1.
codecs.register_error("spft_latin1", _invalid_as_latin1)


def read_json(path: Path, *, latin1: bool = False) -> object:
    """Read a JSON file.

    Args:
        path: the file.
        latin1: read bytes that are not UTF-8 as Latin-1 and say so.

    Raises:
        UserError: file missing, not UTF-8 (unless ``latin1``) or not JSON.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; unpack the corpus again")
    if latin1:
        raw = path.read_bytes()
        text = raw.decode("utf-8", errors="spft_latin1")
        if text.encode("utf-8") != raw:
            _log.warning("%s is not all UTF-8; the rest is read as Latin-1", path)
    else:
        text = "\n".join(read_lines(path))
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}:{error.lineno}: not JSON ({error.msg}); fetch the file again"
        ) from None


def read_jsonl(path: Path, keys: tuple[str, ...]) -> Iterator[tuple[str, dict]]:
    """Yield ``(file:line, object)``; every object must have ``keys``."""
    for number, line in enumerate(read_lines(path), 1):
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(
                f"{where}: not JSON ({error.msg}); write one object per line"
            ) from None
        missing = [key for key in keys if not isinstance(row, dict) or key not in row]
        if missing:
            raise UserError(f"{where}: no {', '.join(missing)}; add what is missing")
        yield where, row


def find_audio(stem: Path) -> Path | None:
    """The file ``stem`` with one of the known suffixes, or None."""
    files = [stem.with_name(stem.name + suffix) for suffix in AUDIO_SUFFIXES]
    return next((file for file in files if file.is_file()), None)

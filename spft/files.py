"""Configurations, checksums, and writing files so that nobody sees half of one."""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from spft.errors import UserError


@contextmanager
def atomic_write(path: str | Path, mode: str = "w") -> Iterator[IO]:
    """Open a temporary neighbour of ``path``; rename it to ``path`` on success.

    On an exception the temporary file is removed and ``path`` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        encoding = None if "b" in mode else "utf-8"
        with open(temporary, mode, encoding=encoding) as stream:
            yield stream
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_yaml(path: str | Path) -> dict:
    """The keys and values of a YAML file; none if it is empty.

    Raises:
        UserError: no such file, not YAML, or no keys in it.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """YAML 1.1's, to which 1e-3 and 1.5e3 are words; here they are numbers."""

    number = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, "-+.0123456789")
    try:
        found = yaml.load(Path(path).read_text(encoding="utf-8"), Loader)
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{path}: no such configuration") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not valid YAML: {reason}") from error
    if not isinstance(found or {}, dict):
        raise UserError(f"{path}: holds no `key: value` lines")
    return found or {}


def sha256(path: str | Path) -> str:
    """The checksum of a file, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

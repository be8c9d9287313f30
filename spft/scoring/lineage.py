"""Whether results still belong to what they were made of."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from spft.data.features import audio_stamp
from spft.errors import UserError
from spft.files import sha256


def changed(digests: Mapping[str, str]) -> str | None:
    """Find a file that is another one today, also in the stages before.

    Args:
        digests: sha256 by path, as in ``settings.json`` of a trained stage and
            ``decode.json`` of a decode; a folder's is of its audio. What is gone is
            taken as unchanged.
    """
    for name, digest in digests.items():
        path = Path(name)
        if path.is_dir():
            if _audio(path / "wav.scp") not in (None, digest):
                return name
            continue
        if not path.is_file():
            continue
        if _sha256(path, path.stat().st_mtime_ns) != digest:
            return name
        settings = path.with_name("settings.json")
        if path.name == "model.safetensors" and settings.is_file():
            earlier = json.loads(settings.read_text(encoding="utf-8"))
            if found := changed(earlier.get("sha256", {})):
                return found
    return None


def _audio(table: Path) -> str | None:
    try:
        return audio_stamp(table)
    except (OSError, UserError):  # the list is gone, or a file on it
        return None


@cache
def _sha256(path: Path, _: int) -> str:
    return sha256(path)

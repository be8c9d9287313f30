"""Features that stage 2 makes of a set: indices of them, and first passes."""

import hashlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from spft.data.table import read_table
from spft.errors import UserError
from spft.files import atomic_write


def audio_stamp(table: Path, encoder: str = "") -> str:
    """What stands for audio, or its features: the list, its files' size and age.

    Args:
        table: ``wav.scp``.
        encoder: what makes features of it, if anything.

    Raises:
        UserError: a file is missing.
    """
    digest = hashlib.sha256(encoder.encode() + table.read_bytes())
    utterances = read_table(table)
    for utterance, path in utterances.items():
        try:
            file = os.stat(path)
        except OSError as error:
            raise UserError(
                f"{utterances.where(utterance)}: {path}: {error.strerror}; "
                "run stage 1 again"
            ) from None
        digest.update(f"{file.st_size} {file.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def read_first_passes(data: Path, dump: Path) -> Iterator[tuple[str, str, str]]:
    """Each utterance with its transcript and its first pass.

    Args:
        data: directory of the set.
        dump: its features.

    Raises:
        UserError: one has no first pass.
    """
    path = dump / "first_pass"
    if not path.exists():
        raise UserError(f"{path}: not found; run stage 2 first")
    written = read_table(path, allow_empty=True)
    for utterance, text in read_table(data / "text").items():
        if utterance not in written:
            raise UserError(f"{path}: lacks {utterance!r}; run stage 2 again")
        yield utterance, text, written[utterance]


def combine_features(folders: list[Path], out: Path, kept: Collection[str]) -> None:
    """Put the indices of features together; the features stay where they are."""
    (out / "feats.scp").unlink(missing_ok=True)
    # The index comes last: features without it count as not there.
    for name in ("utt2num_frames", "first_pass", "first_pass_written", "feats.scp"):
        lines = []
        for folder in folders:
            if not (folder / name).exists():  # stage 2 made no features of it
                (out / name).unlink(missing_ok=True)  # of an earlier combination
                break
            found = (folder / name).read_text(encoding="utf-8").splitlines()
            lines += [line for line in found if line.partition(" ")[0] in kept]
        else:
            with atomic_write(out / name) as stream:
                stream.writelines(f"{line}\n" for line in sorted(lines))

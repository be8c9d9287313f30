"""Features that stage 2 makes of a set: indices of them, and first passes."""

from collections.abc import Collection
from pathlib import Path

from spft.files import atomic_write


def combine_features(folders: list[Path], out: Path, kept: Collection[str]) -> None:
    """Put the indices of features together; the features stay where they are."""
    files = ("feats.scp", "utt2num_frames", "first_pass", "first_pass_written")
    for name in files:
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

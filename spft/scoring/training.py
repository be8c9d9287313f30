"""What the trainings behind a table were: their size, speed and loss."""

from collections.abc import Sequence
from pathlib import Path

from spft.scoring.collect import read_json

HEADER = ("stage", "trained parameters", "epochs", "sentences/s", "best on dev")


def training_cells(folders: Sequence[Path]) -> list[list[str]]:
    """Cells of ``HEADER`` for each stage's folder that ``spft.bin.train`` left."""
    cells = []
    for folder in folders:
        figures = read_json(folder / "training.json")
        if figures is None:
            continue
        utterances, seconds = figures["utterances"], figures["seconds"]
        speed = "–" if utterances is None else f"{utterances / seconds:.1f}"
        best = f"{figures['criterion'].removeprefix('valid ')} {figures['best']:.3f}"
        row = [folder.name, f"{figures['parameters']:,}", str(figures["epochs"])]
        cells.append([*row, speed, best])
    return cells

"""What the trainings behind a table were, and what the soft prompt became."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from spft.scoring.collect import outdated, read_json

HEADER = ("stage", "trained parameters", "epochs", "sentences/s", "best on dev")


def training_cells(folders: Sequence[Path]) -> list[list[str]]:
    """Cells of ``HEADER`` for each stage's folder that ``spft.bin.train`` left."""
    cells = []
    for folder in folders:
        figures = read_json(folder / "training.json")
        if figures is None:
            continue
        utterances, seconds = figures["utterances"], figures["seconds"]
        speed = f"{utterances / seconds:.1f}" if utterances and seconds else "–"
        row = [folder.name, f"{figures['parameters']:,}", str(figures["epochs"])]
        cells.append([*row, speed, best_figure(figures)])
    return cells


def best_figure(figures: dict) -> str:
    """What the epoch of a ``training.json`` was chosen by, with its name."""
    return f"{figures['criterion'].removeprefix('valid ')} {figures['best']:.3f}"


def prompt_line(path: Path) -> str | None:
    """A sentence on ``prompt_map.json``; None where there is none of today's prompt."""
    found = read_json(path)
    if found is None or "attention" not in found or outdated(path):
        return None
    near = mean(vector["audio"] for vector in found["prompt"])
    norms = [f"{name} {norm:.2f}" for name, norm in found["norms"].items()]
    paid = {name: 100 * mean(shares) for name, shares in found["attention"].items()}
    return (
        f"What the soft prompt became: mean norms of {', '.join(norms)}; mean cosine "
        f"of its vectors to the nearest audio embedding {near:.2f}. While the decoder "
        f"writes a sentence of dev, {paid['prompt']:.1f} % of its attention goes to "
        f"the prompt, {paid['audio']:.1f} % to audio in its place (mean of layers and "
        "heads, without the first position)."
    )

"""Error rates of the same systems trained with several seeds."""

from collections.abc import Sequence
from statistics import mean, stdev

from spft.errors import UserError
from spft.scoring.collect import RowScores

HEADER = ("system", "WER", "mean ± sd", "EER", "mean ± sd")


def seed_cells(experiments: Sequence[Sequence[RowScores]]) -> list[list[str]]:
    """Cells of ``HEADER`` for each row that all experiments have.

    Args:
        experiments: the rows of each, as :func:`spft.scoring.collect.collect` gives
            them. Base alone and first pass, of which nothing is trained, are left out.

    Raises:
        UserError: the experiments have no such row in common.
    """
    found = [{r.row.key: r for r in rows if r.scores} for rows in experiments]
    shared = [key for key in found[0] if all(key in rows for rows in found)]
    cells = []
    for key in shared:
        row = found[0][key].row
        if row.system == "first_pass" or (row.system, row.tag) == ("base", "plain"):
            continue
        scores = [rows[key].scores for rows in found]
        rates = (_rates([s[name] for s in scores]) for name in ("wer", "eer"))
        cells.append([found[0][key].row.label, *(c for pair in rates for c in pair)])
    if not cells:
        raise UserError(
            "--seeds: no adapted system has scores in all; name experiments that were "
            "trained with another --seed and decoded (stage 7)"
        )
    return cells


def _rates(values: Sequence[float | None]) -> tuple[str, str]:
    if None in values:
        return "–", "–"
    each = ", ".join(f"{value:.2f}" for value in values)
    return each, f"{mean(values):.2f} ± {stdev(values):.2f}"

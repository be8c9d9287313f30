"""Error rates of the same systems trained with several seeds."""

from collections.abc import Sequence
from statistics import mean, stdev

from spft.errors import UserError
from spft.scoring.collect import REFERENCE, SYSTEMS, RowScores
from spft.scoring.table import NOTHING, probability

MEASURES = ("wer", "eer")
HEADER = ("system",) + tuple(
    cell
    for name in MEASURES
    for cell in (name.upper(), "mean ± sd", "p to base", f"p to {SYSTEMS[REFERENCE]}")
)
NOTE = (
    f"p: of each seed, against base and {SYSTEMS[REFERENCE]} of the same seed and "
    "decoding, by the tests of the tables above."
)


def seed_cells(experiments: Sequence[Sequence[RowScores]]) -> list[list[str]]:
    """Cells of ``HEADER`` for each row that all experiments have.

    Args:
        experiments: the rows of each, as :func:`spft.scoring.collect.collect` gives
            them. Base alone and first pass, of which nothing is trained, are left out.

    Raises:
        UserError: the experiments have no such row in common.
    """
    by_key = [{r.row.key: r for r in rows if r.scores} for rows in experiments]
    shared = [key for key in by_key[0] if all(key in rows for rows in by_key)]
    cells = []
    for key in shared:
        row = by_key[0][key].row
        if row.system == "first_pass" or (row.system, row.tag) == ("base", "plain"):
            continue
        results = [rows[key] for rows in by_key]
        line = [row.label]
        for name in MEASURES:
            line += _rates([result.scores[name] for result in results])
            line += [
                ", ".join(map(probability, ps))
                if any(p is not None for p in ps)
                else NOTHING
                for ps in zip(*(_probabilities(r, name) for r in results), strict=True)
            ]
        cells.append(line)
    if not cells:
        raise UserError(
            "--seeds: no adapted system has scores in all; name experiments that were "
            "trained with another --seed and decoded (stage 7)"
        )
    return cells


def _probabilities(
    result: RowScores, measure: str
) -> tuple[float | None, float | None]:
    """Of the difference from base and plain tuning, the decoding the same."""
    row = result.row
    to_base = getattr(result.base if row.tag == "plain" else result.untuned, measure)
    if row.system in ("base", REFERENCE):  # its ``versus`` is another decoding
        return to_base, None
    return to_base, getattr(result.versus, measure)


def _rates(values: Sequence[float | None]) -> tuple[str, str]:
    if None in values:
        return NOTHING, NOTHING
    each = ", ".join(f"{value:.2f}" for value in values)
    return each, f"{mean(values):.2f} ± {stdev(values):.2f}"

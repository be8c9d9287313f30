"""The table of several seeds."""

from statistics import mean, stdev

import pytest

from spft.errors import UserError
from spft.scoring.collect import RowScores, SystemRow
from spft.scoring.seeds import seed_cells

BASE = SystemRow("base", "base", "base", "plain")
PLAIN = SystemRow("no_prompt", "no prompt", "no_prompt", "plain")


def rows(wer, eer=None):
    return [
        RowScores(BASE, {"wer": 20.0, "eer": 30.0}),
        RowScores(PLAIN, {"wer": wer, "eer": eer}),
    ]


def test_mean_and_deviation_of_what_a_seed_changes():
    (cells,) = seed_cells([rows(18.0), rows(19.0), rows(18.5)])
    assert cells[:2] == ["no prompt", "18.00, 19.00, 18.50"]
    values = [18.0, 19.0, 18.5]
    assert cells[2] == f"{mean(values):.2f} ± {stdev(values):.2f}"
    assert cells[3:] == ["–", "–"]


def test_rows_that_not_all_have_are_left_out():
    with pytest.raises(UserError, match="no adapted system"):
        seed_cells([rows(18.0), rows(19.0)[:1]])

"""The table of several seeds."""

import pytest

from spft.errors import UserError
from spft.scoring.collect import PValues, RowScores, SystemRow
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
    assert cells[2] == "18.50 ± 0.50"
    assert cells[3:] == ["–"] * 6


def test_each_seed_is_tested_against_its_own_base_and_plain_tuning():
    row = SystemRow("soft_second", "soft", "soft_prompt", "second", "no_second", "b")
    seeds = [
        [RowScores(row, {"wer": 18.0, "eer": 25.0}, base=PValues(1e-9, 1e-9),
                   versus=PValues(p / 2, 0.5), untuned=PValues(p))]
        for p in (0.04, 0.0004)
    ]  # fmt: skip
    (cells,) = seed_cells(seeds)
    assert cells[3:5] == ["0.040, < 0.001", "0.020, < 0.001"]
    assert cells[7:] == ["–", "0.500, 0.500"]


def test_rows_that_not_all_have_are_left_out():
    with pytest.raises(UserError, match="no adapted system"):
        seed_cells([rows(18.0), rows(19.0)[:1]])

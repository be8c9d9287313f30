from dataclasses import replace

import pytest

from spft.bin import combine_data
from spft.data.kaldi import read_data_dir, validate_data_dir, write_data_dir
from spft.errors import UserError


def run_main(monkeypatch, *options):
    monkeypatch.setattr("sys.argv", ["prog", *map(str, options)])
    combine_data.main()


def test_both_sets_are_in_the_result(monkeypatch, tiny_data, tmp_path):
    paired, other = tiny_data / "paired", tmp_path / "other"
    utterances = read_data_dir(paired)
    renamed = [replace(u, id=f"x-{u.id}", speaker=f"x-{u.speaker}") for u in utterances]
    write_data_dir(other, renamed)
    out = tmp_path / "both"
    run_main(monkeypatch, "--data", paired, other, "--out", out)
    assert validate_data_dir(out) == sorted(utterances + renamed, key=lambda u: u.id)


def test_an_utterance_twice(monkeypatch, tiny_data, tmp_path):
    paired = tiny_data / "paired"
    with pytest.raises(UserError, match="paired: .* is also in .*paired"):
        run_main(monkeypatch, "--data", paired, paired, "--out", tmp_path / "both")
    assert not (tmp_path / "both").exists()

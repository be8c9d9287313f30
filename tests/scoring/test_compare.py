"""The table of variants."""

import json
import shutil

import pytest

from spft.bin import compare, score
from spft.errors import UserError


@pytest.fixture
def rows(tmp_path):
    """Two variants with scores of the same set."""
    data = tmp_path / "dev"
    data.mkdir()
    (data / "text").write_text("s-1 play the song\ns-2 stop it now\n")
    (data / "utt2spk").write_text("s-1 s\ns-2 s\n")
    found = []
    for name, words in (("no_prompt", "play a song"), ("d_30", "play the song")):
        row = tmp_path / name
        decode = row / "decode_plain" / "dev"
        decode.mkdir(parents=True)
        (decode / "text").write_text(f"s-1 {words}\ns-2 stop it now\n")
        score.score(data, decode)
        (row / "decoder").mkdir()
        figures = {"parameters": 1200, "seconds": 90.0, "best": 4.25}
        figures["criterion"] = "valid cer"
        (row / "decoder" / "training.json").write_text(json.dumps(figures))
        found.append(row)
    return found


def test_a_row_for_each_variant(rows, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out.md"
    names = ["--set", "dev", "--rows", str(rows[0]), f"thirty={rows[1]}"]
    names += ["--out", str(out)]
    names += ["--title", "Two", "--note", "One with a prompt."]
    monkeypatch.setattr("sys.argv", ["compare", *names])
    compare.main()
    assert out.read_text().startswith("# Two\n\nOne with a prompt.\n")
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in out.read_text().splitlines()
        if line.startswith("|")
    ]
    # There are no entities, so no columns of them.
    assert cells[0] == ["row", "best on dev", "trained parameters", "minutes", "WER"]
    assert cells[2][0] == "no prompt"
    assert cells[2][1:5] == ["decoder cer 4.250", "1,200", "1.5", "16.67"]
    assert (
        cells[3][0] == "thirty" and cells[3][4] == "0.00"
    )  # one error is no significance
    assert "16.67" in capsys.readouterr().out


def test_rows_that_were_decoded_differently(rows, tmp_path, monkeypatch):
    shutil.copytree(rows[1] / "decode_plain", rows[1] / "decode_second")
    words = ["compare", "--set", "dev", "--out", str(tmp_path / "out.md"), "--rows"]
    monkeypatch.setattr("sys.argv", [*words, *map(str, rows)])
    with pytest.raises(UserError, match="no prompt decode_plain, d 30 decode_second"):
        compare.main()
    named = [str(rows[0]), f"d={rows[1] / 'decode_second'}"]  # on purpose
    monkeypatch.setattr("sys.argv", [*words, *named])
    compare.main()


def test_two_rows_of_one_name(rows, tmp_path, monkeypatch):
    names = ["--rows", str(rows[0]), str(rows[0]), "--out", str(tmp_path / "out.md")]
    monkeypatch.setattr("sys.argv", ["compare", "--set", "dev", *names])
    with pytest.raises(UserError, match="two are called 'no prompt'"):
        compare.main()


def test_a_row_without_scores(rows):
    with pytest.raises(UserError, match="no decode of test in it"):
        compare.find_decode(rows[0], "test")


def test_scores_of_another_model_are_refused(rows, tmp_path, monkeypatch):
    model = tmp_path / "model.safetensors"
    model.write_text("trained anew since")
    made_of = {"sha256": {str(model): "of before"}}
    (rows[1] / "decode_plain" / "decode.json").write_text(json.dumps(made_of))
    words = ["compare", "--set", "dev", "--out", str(tmp_path / "out.md"), "--rows"]
    monkeypatch.setattr("sys.argv", [*words, *map(str, rows)])
    with pytest.raises(UserError, match="an earlier .*model.safetensors; decode"):
        compare.main()

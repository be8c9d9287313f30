import json
import shutil
import subprocess
import sys

import pytest

from spft.bin.score import score
from spft.errors import UserError
from spft.scoring.collect import compare_eer


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "text").write_text("u1 play hey jude\nu2 stop\n")
    entity = {"type": "track", "text": "hey jude", "start": 1, "end": 3}
    (folder / "entities").write_text(f"u1\t{json.dumps([entity])}\n")
    return folder


@pytest.fixture
def decode(tmp_path):
    folder = tmp_path / "decode"
    folder.mkdir()
    (folder / "text").write_text("u1 Play, Hey Jude!\nu2\n")
    return folder


def test_command(data, decode):
    command = [sys.executable, "-m", "spft.bin.score", "--data", data]
    done = subprocess.run(
        [*command, "--decode", decode], capture_output=True, text=True, check=True
    )
    assert "WER 25.00 %, SER 50.00 %, EER 0.00 %" in done.stdout
    scores = json.loads((decode / "score.json").read_text())
    assert (scores["sub"], scores["del"], scores["ins"]) == (0, 1, 0)
    assert scores["eer_seen"] is None
    (decode / "text").write_text("u1 play\n")
    done = subprocess.run(
        [*command, "--decode", decode], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not (decode / "score.json").exists()  # no stale scores


def test_what_is_no_longer_scored_is_not_compared(data, decode, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(decode, other)
    for folder in (decode, other):
        score(data, folder)
    assert compare_eer(decode, other) == 1
    (data / "entities").unlink()
    score(data, decode)
    assert compare_eer(decode, other) is None


@pytest.mark.parametrize(
    ("hyps", "message"),
    [
        ("u1 play\n", r"decode/text: no hypothesis for 1 utterances: u2; decode"),
        ("u1 a\nu2 b\nu3 c\n", r"hypotheses of unknown 1 utterances: u3; is this"),
        ("u1 a\nu1 b\n", r"decode/text:2: duplicate 'u1'"),
    ],
)
def test_bad_hypotheses(data, decode, hyps, message):
    (decode / "text").write_text(hyps)
    with pytest.raises(UserError, match=message):
        score(data, decode)


def test_no_hypotheses(data, tmp_path):
    with pytest.raises(UserError, match="text: no such file"):
        score(data, tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("u1\t[{]", r"entities:1: not JSON"),
        ('u3\t[{"type": "t", "text": "a"}]', r"entities:1: 'u3' has no transcript"),
        (
            'u1\t[{"type": "t", "text": "jude", "start": 1, "end": 2}]',
            r"entities:1: entity 'jude' has span 1:2, where the text says 'hey'",
        ),
        ('u1\t[{"type": "t", "text": "?"}]', r"entities:1: entity '\?' has no words"),
    ],
)
def test_bad_entities(data, decode, line, message):
    (data / "entities").write_text(line + "\n")
    with pytest.raises(UserError, match=message):
        score(data, decode)


def test_values_without_transcripts(data, decode):
    """A set such as Barista: spans mean nothing, WER is unknown."""
    (data / "text").unlink()
    (data / "wav.scp").write_text("u1 u1.wav\nu2 u2.wav\n")
    scores = score(data, decode)
    assert scores["wer"] is None
    assert scores["eer"] == 0
    assert scores["by_span"] == 0
    assert not (decode / "score_wer").exists()
    (data / "wav.scp").write_text("u2 u2.wav\n")
    with pytest.raises(UserError, match=r"entities: 'u1' is not in wav\.scp"):
        score(data, decode)
    (data / "entities").unlink()
    with pytest.raises(UserError, match="neither text nor entities"):
        score(data, decode)

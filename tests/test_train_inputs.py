"""What a training refuses to read."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from spft.bin.train import check_16khz_mono, write_lengths
from spft.errors import UserError

PRESET = Path(__file__).parents[1] / "conf" / "presets" / "tiny"


@pytest.mark.parametrize(("rate", "channels"), [(44100, 1), (16000, 2)])
def test_audio_that_training_would_misread(tmp_path, rate, channels):
    table = tmp_path / "wav.scp"
    table.write_text(f"a {tmp_path}/a.wav\n")
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 16000)
    check_16khz_mono(table)
    soundfile.write(tmp_path / "a.wav", np.zeros((100, channels)), rate)
    with pytest.raises(UserError, match="wav.scp:1.* training reads 16000 Hz"):
        check_16khz_mono(table)


def test_ids_end_at_any_white_space(tmp_path):
    (tmp_path / "text").write_text("a\tplay abba \nb  stop\n")
    assert write_lengths(tmp_path / "text", None, tmp_path / "lengths") == 2
    assert (tmp_path / "lengths").read_text() == "a 9\nb 4\n"


def test_missing_data_names_the_stage(train, tmp_path):
    result = train(PRESET / "prompt.yaml", tmp_path / "no", tmp_path / "out")
    assert result.returncode == 1
    assert "run stage 1 first" in result.stderr

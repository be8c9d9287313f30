import numpy as np
import pytest
import soundfile

from spft.bin import perturb_speed
from spft.data.audio import read_audio
from spft.data.kaldi import validate_data_dir
from spft.errors import UserError


def run_main(monkeypatch, *options):
    monkeypatch.setattr("sys.argv", ["prog", *map(str, options)])
    perturb_speed.main()


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "train"
    folder.mkdir()
    tone = 0.3 * np.sin(2 * np.pi * 400 * np.arange(16000) / 16000)
    soundfile.write(tmp_path / "a.wav", tone, 16000)
    for name, line in (
        ("wav.scp", f"s-a {tmp_path}/a.wav"),
        ("text", "s-a a tone"),
        ("utt2spk", "s-a s"),
        ("spk2utt", "s s-a"),
    ):
        (folder / name).write_text(line + "\n")
    return folder


def test_every_factor_is_a_speaker(monkeypatch, data):
    for _ in range(2):  # the second time all is there
        run_main(monkeypatch, "--data", data, "--factors", 0.8, 1.0, 1.25, "--jobs", 2)
    found = {u.id: u for u in validate_data_dir(data.with_name("train_sp"))}
    assert list(found) == ["s-a", "sp0.8-s-a", "sp1.25-s-a"]
    assert {u.speaker for u in found.values()} == {"s", "sp0.8-s", "sp1.25-s"}
    for name, length, hertz in (("sp0.8-s-a", 20000, 320), ("sp1.25-s-a", 12800, 500)):
        assert found[name].text == "a tone"
        samples = read_audio(found[name].audio)
        assert len(samples) == length
        peak = np.abs(np.fft.rfft(samples)).argmax() * 16000 / length
        assert peak == pytest.approx(hertz, abs=2)


def test_impossible_speeds(monkeypatch, data):
    with pytest.raises(UserError, match="between 0.5 and 2"):
        run_main(monkeypatch, "--data", data, "--factors", 0)
    assert not data.with_name("train_sp").exists()

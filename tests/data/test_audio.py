import logging

import numpy as np
import pytest
import soundfile

from spft.data import audio
from spft.data.audio import duration, read_audio
from spft.errors import UserError

FORMATS = [
    ("a.wav", "WAV", "PCM_16"),
    ("a.flac", "FLAC", "PCM_16"),
    ("a.mp3", "MP3", "MPEG_LAYER_III"),
    ("a.ogg", "OGG", "OPUS"),
]


def tone(seconds: float, rate: int, hertz: float = 440) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def pitch(samples: np.ndarray) -> float:
    """Strongest frequency, in Hz at 16 kHz."""
    return np.abs(np.fft.rfft(samples)).argmax() * 16000 / len(samples)


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    monkeypatch.setattr(audio, "_said", set())


@pytest.mark.parametrize(("name", "kind", "subtype"), FORMATS)
def test_formats(tmp_path, name, kind, subtype):
    soundfile.write(tmp_path / name, tone(1, 16000), 16000, subtype, format=kind)
    samples = read_audio(tmp_path / name)
    assert samples.dtype == np.float32
    assert samples.shape == (16000,)
    assert pitch(samples) == pytest.approx(440, abs=2)
    assert duration(tmp_path / name) == pytest.approx(1)


@pytest.mark.parametrize(("name", "kind", "subtype"), FORMATS)
def test_truncated(tmp_path, name, kind, subtype):
    noise = 0.3 * np.random.default_rng(0).standard_normal(32000)
    path = tmp_path / name
    soundfile.write(path, noise, 16000, subtype, format=kind)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=rf"{name}: .*truncated") as caught:
        read_audio(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [0, 0x7FFFF024, 0xFFFFFFFF])
def test_a_wav_out_of_a_pipe_does_not_know_its_length(tmp_path, size):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(1, 16000), 16000)
    written = bytearray(path.read_bytes())
    written[4:8] = size.to_bytes(4, "little")
    if size:
        written[40:44] = written[4:8]
    path.write_bytes(written)
    assert len(read_audio(path)) == 16000


def test_a_wav_whose_header_counts_itself(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(1, 16000), 16000)
    written = bytearray(path.read_bytes())
    written[4:8] = len(written).to_bytes(4, "little")
    path.write_bytes(written)
    assert len(read_audio(path)) == 16000
    path.write_bytes(written[:-2])  # the last sample
    with pytest.raises(UserError, match="truncated"):
        read_audio(path)


def test_resamples_and_averages_and_says_so_once(tmp_path, caplog):
    stereo = np.stack([tone(1, 44100), np.zeros(44100)], axis=1)
    for name in ("one.wav", "two.wav"):
        soundfile.write(tmp_path / name, stereo, 44100)
    with caplog.at_level(logging.WARNING):
        samples = read_audio(tmp_path / "one.wav")
        read_audio(tmp_path / "two.wav")
    assert samples.shape == (16000,)
    assert pitch(samples) == pytest.approx(440, abs=2)
    assert np.abs(samples).max() == pytest.approx(0.15, abs=0.02)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "averaging 2 channels" in said[0]
    assert "44100 Hz to 16000 Hz" in said[1]
    assert all("one.wav" in message for message in said)


def test_refuses_what_is_not_speech(tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(16000), 16000)
    soundfile.write(tmp_path / "short.wav", tone(0.05, 16000), 16000)
    nans = np.full(16000, np.nan, dtype=np.float32)
    soundfile.write(tmp_path / "nan.wav", nans, 16000, "FLOAT")
    (tmp_path / "empty.flac").write_bytes(b"")
    (tmp_path / "text.flac").write_text("not audio at all")
    (tmp_path / "samples.raw").write_bytes(bytes(32000))
    for name, message in {
        "silence.wav": "non-speech: digital silence",
        "short.wav": "non-speech: 0.050 s is too short",
        "nan.wav": "not finite",
        "empty.flac": "empty audio file",
        "text.flac": "unreadable",
        "samples.raw": "unreadable",
        "missing.flac": "no such audio file",
    }.items():
        with pytest.raises(UserError, match=rf"wav.scp:7: .*{name}: .*{message}"):
            read_audio(tmp_path / name, where="wav.scp:7")

"""Phonemes, recording conditions and the synthesis command, with a fake voice."""

import json
import shutil
import sys

import numpy as np
import pytest
import soundfile

from spft import synth
from spft.bin import synthesize
from spft.errors import UserError

needs_espeak = pytest.mark.skipif(
    not shutil.which("espeak-ng"), reason="espeak-ng is not installed"
)


@pytest.mark.parametrize(
    ("ipa", "american", "british"),
    [
        ("plˈe^ɪ", "plˈA", "plˈA"),
        ("bˈa^ɪ kwˈa^ɪ^ɚ", "bˈI kwˈIəɹ", "bˈI kwˈIəɹ"),
        ("bˈo^ʊt", "bˈOt", "bˈOt"),
        ("bˈə^ʊt", "bˈQt", "bˈQt"),
        ("t^ʃˈɔ^ɪs d^ʒˈe^ɪ", "ʧˈYs ʤˈA", "ʧˈYs ʤˈA"),
        ("wˈɔːɾɚ", "wˈɔTəɹ", "wˈɔːɾəɹ"),
        ("ɡˈɜːlz", "ɡˈɜɹlz", "ɡˈɜːlz"),
        ("fˈe^ə", "fˈeə", "fˈɛː"),
        ("bˈʌʔn\u0329\n ɐ", "bˈʌtn ə", "bˈʌtn ə"),
    ],
)
def test_mapping(ipa, american, british):
    assert synth.to_kokoro(ipa, british=False) == american
    assert synth.to_kokoro(ipa, british=True) == british


@needs_espeak
def test_espeak_to_kokoro():
    assert synth.phonemize("play the boat", british=False) == "plˈA ðə bˈOt"
    assert synth.phonemize("play the boat", british=True) == "plˈA ðə bˈQt"


@needs_espeak
def test_roman_numbers_are_read_as_numbers():
    for written, said in (("part ii", "part two"), ("on iv fluids", "on i.v. fluids")):
        assert synth.phonemize(written, False) == synth.phonemize(said, False)
    assert synth.ROMAN["xxxix"] == "thirty-nine" and "i" not in synth.ROMAN


@pytest.mark.skipif(not shutil.which("flite"), reason="flite is not installed")
def test_flite_speaks_at_the_rate_whatever_the_voice():
    engine = synth.FliteEngine()
    assert len(engine.voices) == 15
    whole = len(engine.synthesize("what a fine day", "slt", 1.0))
    for voice, rate in (("slt+2", 1.0), ("slt-2", 1.0), ("slt", 1.25)):
        length = len(engine.synthesize("what a fine day", voice, rate))
        assert length * rate == pytest.approx(whole, rel=0.05)


def test_flite_is_missed_before_any_sentence(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="flite is not on PATH; install it"):
        synth.FliteEngine()


class FakeEngine:
    """Hums a tone between two silences; the louder the longer the text."""

    name = "fake"
    sample_rate = 24000
    voices = ("am_a", "bf_b")

    def __init__(self, *_):
        self.spoken = []

    def synthesize(self, text, voice, rate):
        self.spoken.append(text)
        time = np.arange(int(24000 * 0.1 * len(text) / rate)) / 24000
        tone = np.sin(2 * np.pi * 220 * time) * len(text) / 100
        return np.pad(tone, 24000).astype(np.float32)


@pytest.fixture
def engine(monkeypatch):
    engine = FakeEngine()
    monkeypatch.setattr(synth, "KokoroEngine", lambda *_: engine)
    return engine


def command(monkeypatch, *args):
    monkeypatch.setattr(sys, "argv", ["synthesize", *map(str, args)])
    synthesize.main()


def write_rows(path, *texts, **other):
    rows = [
        {"id": f"am_a-{n}", "text": t, "speaker": "am_a", "rate": 1.0} | other
        for n, t in enumerate(texts)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_recording(engine):
    conditions = synth.Conditions(snr=(20, 20), room=0, peak=(-6, -6))
    clean = engine.synthesize("ten letters", "am_a", 1.0)
    wave = synth.record(clean, 24000, "u1", conditions)
    assert len(wave) / 16000 == pytest.approx(1.1 + 2 * 0.1, abs=0.02)
    assert np.abs(wave).max() == pytest.approx(10 ** (-6 / 20), abs=1e-3)
    speech, noise = wave[2400:-2400], wave[:1200]
    # The margins are too short to measure a low-frequency noise exactly.
    ratio = 10 * np.log10(np.mean(speech**2) / np.mean(noise**2))
    assert ratio == pytest.approx(20, abs=5)
    np.testing.assert_array_equal(wave, synth.record(clean, 24000, "u1", conditions))
    assert not np.array_equal(wave, synth.record(clean, 24000, "u2", conditions))


def test_room_adds_a_tail(engine):
    clean = np.pad(engine.synthesize("word", "am_a", 1.0), 100)
    conditions = {"snr": (80, 80), "peak": (-6, -6), "margin": 0.2}
    dry, wet = (
        synth.record(clean, 24000, "u", synth.Conditions(room=room, **conditions))
        for room in (0, 1)
    )
    end = slice(-2800, -2000)  # after the tone
    assert np.mean(wet[end] ** 2) > 10 * np.mean(dry[end] ** 2)


def test_corpus_is_made_once(engine, tmp_path, monkeypatch):
    (tmp_path / "adapt.jsonl").write_text('{"id": "t", "text": "never spoken"}\n')
    write_rows(tmp_path / "dev.jsonl", "one two", "three four")
    command(monkeypatch, "--corpus", tmp_path)
    assert engine.spoken == ["one two", "three four"]
    info = soundfile.info(tmp_path / "audio" / "am_a-0.ogg")
    assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "OPUS")
    first = soundfile.read(tmp_path / "audio" / "am_a-0.ogg")[0]
    assert 0.1 < np.abs(first).max() < 1.0

    command(monkeypatch, "--corpus", tmp_path)
    assert len(engine.spoken) == 2
    write_rows(tmp_path / "dev.jsonl", "one two", "three five")
    (tmp_path / "audio" / "am_a-0.ogg").unlink()
    command(monkeypatch, "--corpus", tmp_path)
    assert engine.spoken[2:] == ["one two", "three five"]
    again = soundfile.read(tmp_path / "audio" / "am_a-0.ogg")[0]
    np.testing.assert_array_equal(again, first)


def test_jobs_make_the_same(engine, tmp_path, monkeypatch):
    for jobs in (1, 2):
        (tmp_path / str(jobs)).mkdir()
        write_rows(tmp_path / str(jobs) / "dev.jsonl", "one two", "three four")
        command(monkeypatch, "--corpus", tmp_path / str(jobs), "--jobs", jobs)
    assert len(engine.spoken) == 2  # the others were spoken in other processes
    for name in ("am_a-0.ogg", "am_a-1.ogg"):
        one, two = (
            soundfile.read(tmp_path / jobs / "audio" / name)[0] for jobs in "12"
        )
        np.testing.assert_array_equal(one, two)


def test_stopped_run_is_resumed(engine, tmp_path, monkeypatch):
    write_rows(tmp_path / "dev.jsonl", "one two", "three four")
    speak = engine.synthesize

    def stop_at_second(text, voice, rate):
        if text == "three four":
            raise KeyboardInterrupt
        return speak(text, voice, rate)

    engine.synthesize = stop_at_second
    with pytest.raises(KeyboardInterrupt):
        command(monkeypatch, "--corpus", tmp_path)
    with open(tmp_path / "audio" / synthesize.MANIFEST, "a") as manifest:
        manifest.write('{"id": "half a li')
    engine.synthesize = speak
    command(monkeypatch, "--corpus", tmp_path)
    assert engine.spoken == ["one two", "three four"]


def test_kaldi_directory(engine, tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.mkdir()
    (source / "text").write_text("u2\thello there\nu1 good morning\n")
    (source / "entities").write_text("u1\t[]\n")
    out = tmp_path / "out"
    command(
        *(monkeypatch, "--text", source / "text", "--out", out),
        *("--voices", "bf_b"),
    )
    assert (out / "text").read_text() == "u1 good morning\nu2 hello there\n"
    assert (out / "spk2utt").read_text() == "bf_b u1 u2\n"
    assert (out / "utt2spk").read_text() == "u1 bf_b\nu2 bf_b\n"
    paths = [line.split()[1] for line in (out / "wav.scp").read_text().splitlines()]
    assert all(soundfile.info(path).samplerate == 16000 for path in paths)
    assert (out / "entities").read_text() == "u1\t[]\n"
    assert sorted(engine.spoken) == ["good morning", "hello there"]
    (source / "spoken").write_text("u2 h.t.\n")
    command(monkeypatch, "--text", source / "text", "--out", out, "--voices", "bf_b")
    assert engine.spoken[2:] == ["h.t."]  # what is unchanged is not made again
    assert (out / "text").read_text() == "u1 good morning\nu2 hello there\n"


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"speaker": "nobody"}, "no voice nobody"),
        ({"rate": 9}, "rate 9"),
        ({"rate": "fast"}, "fast"),
        ({"text": " "}, "no text"),
        ({"id": "same"}, "is also in"),
    ],
)
def test_bad_rows(engine, tmp_path, monkeypatch, other, what):
    write_rows(tmp_path / "dev.jsonl", "one", "two", **other)
    with pytest.raises(UserError, match=r"dev\.jsonl:[12]: .*" + what) as error:
        command(monkeypatch, "--corpus", tmp_path)
    assert "\n" not in str(error.value)
    assert not engine.spoken


def test_missing_set(engine, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"dev\.jsonl"):
        command(monkeypatch, "--corpus", tmp_path, "--sets", "dev")

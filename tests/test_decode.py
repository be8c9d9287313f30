import json
from pathlib import Path

import jiwer
import numpy as np
import pytest
import soundfile

from spft.bin import decode, extract_features
from spft.errors import UserError
from spft.scoring.dev_set import DevSet
from spft.search.config import DecodeConfig

ROOT = Path(__file__).parents[1]


def test_config_keys_that_nothing_reads(tmp_path):
    path = tmp_path / "decode.yaml"
    path.write_text("beam: 3\nlm_weights: [0.5]\n")
    config = DecodeConfig.read(str(path))
    assert config.beam == 3 and config.lm_weights == [0.5]
    path.write_text("beam: 3\nbeam_size: 5\n")
    with pytest.raises(UserError, match="decode.yaml: unknown keys .*beam_size"):
        DecodeConfig.read(str(path))
    path.write_text("second_pass_weights: {ctc: [0.1], llama: [1.0]}\n")
    with pytest.raises(UserError, match="unknown judges .*llama"):
        DecodeConfig.read(str(path))
    with pytest.raises(UserError, match="no such configuration"):
        DecodeConfig.read(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("beam: 0", "beam: 0 is less than 1"),
        ("beam: four", "beam: 'four' .*not.* int"),
        ("lm_weights: []", r"lm_weights: \[\] leaves nothing to choose from"),
        ("second_pass_weights: {ctc: []}", "leaves nothing to choose from"),
        ("second_pass_weights: {}", "leaves nothing to choose from"),
        ("lm_weights: [0.1, -0.5]", "is negative"),
        ("second_pass_weights: 1.0", "second_pass_weights: 1.0 .*not.* dict"),
        ("variants: -1", "variants: -1 is negative"),
        ("beam: [", "not valid YAML"),
        ("4", "holds no `key: value` lines"),
    ],
)
def test_config_values_that_make_no_sense(tmp_path, line, fault):
    path = tmp_path / "decode.yaml"
    path.write_text(line + "\n")
    with pytest.raises(UserError, match=fault):
        DecodeConfig.read(str(path))


def test_the_shipped_configuration_states_the_defaults():
    assert DecodeConfig.read(ROOT / "conf/decode.yaml") == DecodeConfig()


def test_error_rate_on_dev(tmp_path):
    (tmp_path / "entities").write_text(
        'a\t[{"type": "size", "text": "small"}]\n'
        'b\t[{"type": "drink", "text": "flat white"}]\n'
    )
    texts = {"a": "a Small latte", "b": "a flat one", "c": "thanks a lot"}
    dev = DevSet(tmp_path)
    assert (dev.measure, dev.error_rate(texts)) == ("eer", 50.0)
    (tmp_path / "text").write_text("a a small latte\nb a flat white\nc thanks\n")
    dev = DevSet(tmp_path)
    assert (dev.measure, dev.errors("a", "a SMALL latte!")) == ("wer", 0.0)
    # One substitution, two insertions.
    assert (
        dev.error_rate(texts)
        == pytest.approx(
            100
            * jiwer.wer(
                ["a small latte", "a flat white", "thanks"],
                ["a small latte", "a flat one", "thanks a lot"],
            )
        )
        == pytest.approx(300 / 7)
    )


def test_a_dev_set_is_read_as_scoring_reads_it(tmp_path):
    item = {"type": "drink", "text": "Flat White!", "start": 0, "end": 2}
    (tmp_path / "entities").write_text(f"a\t{json.dumps([item])}\n")
    assert DevSet(tmp_path).errors("a", "one flat white") == 0
    (tmp_path / "entities").write_text("a\t[]\n")
    with pytest.raises(UserError, match="neither words nor entities"):
        DevSet(tmp_path)


def run_main(module, monkeypatch, *options):
    monkeypatch.setattr("sys.argv", ["prog", *map(str, options)])
    module.main()


def test_what_is_missing_is_named(monkeypatch, tmp_path):
    data = tmp_path / "set"
    common = ["--data", data, "--out", tmp_path / "out"]
    system = f"base={tmp_path}/exp"
    with pytest.raises(UserError, match="run stages 3 to 5 first"):
        run_main(decode, monkeypatch, "--systems", system, *common)
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "model.safetensors").touch()
    with pytest.raises(UserError, match="run stage 1 first"):
        run_main(decode, monkeypatch, "--systems", system, *common)
    with pytest.raises(UserError, match="needs --tune"):
        run_main(decode, monkeypatch, "--systems", system, "--lm", "x", *common)


@pytest.fixture
def calls(monkeypatch):
    """Recordings that were encoded, by what stands in for Moonshine."""
    encoded = []

    class Encoder:
        """One frame per 400 samples."""

        def __init__(self, path):
            pass

        def encode(self, waveform):
            encoded.append(waveform)
            return np.ones((len(waveform) // 400, 4), np.float32) * waveform.max()

        def transcribe(self, frames):
            return ["Play 2 songs." if len(row) > 20 else "" for row in frames]

    monkeypatch.setattr("spft.encoder.moonshine.Moonshine", Encoder)
    return encoded


def test_features_are_computed_once(monkeypatch, tmp_path, calls):
    from pathlib import Path

    from spft.data.speech import find_speech

    data = tmp_path / "set"
    data.mkdir()
    rng = np.random.default_rng(0)
    for name, n in (("a", 8000), ("b", 16000)):
        soundfile.write(tmp_path / f"{name}.wav", rng.uniform(-0.5, 0.5, n), 16000)
    (data / "wav.scp").write_text(f"a {tmp_path}/a.wav\nb {tmp_path}/b.wav\n")
    options = ["--data", data, "--dump", tmp_path / "dump", "--encoder", str(tmp_path)]
    run_main(extract_features, monkeypatch, *options)
    assert len(calls) == 2
    speech = find_speech(data, tmp_path / "dump")
    assert speech.kind == "kaldi_ark" and speech.lengths == {"a": 20, "b": 40}
    assert speech.load("b").shape == (40, 4)
    assert speech.transcripts(["b", "a"]) == ["play two songs", ""]
    run_main(extract_features, monkeypatch, *options)
    assert len(calls) == 2
    assert speech.written(["a", "b"]) == ["", "Play 2 songs."]
    (tmp_path / "dump/set/first_pass_written").unlink()  # as before there was one
    with pytest.raises(UserError, match="run stage 2 again"):
        find_speech(data, tmp_path / "dump").written(["a"])
    run_main(extract_features, monkeypatch, *options)
    assert len(calls) == 4
    (data / "wav.scp").write_text(f"b {tmp_path}/b.wav\n")
    run_main(extract_features, monkeypatch, *options)
    assert len(calls) == 5
    assert find_speech(data, tmp_path / "dump").lengths == {"b": 40}
    soundfile.write(tmp_path / "b.wav", rng.uniform(-0.5, 0.5, 8000), 16000)
    run_main(extract_features, monkeypatch, *options)  # another recording there
    assert find_speech(data, tmp_path / "dump").lengths == {"b": 20}
    assert find_speech(Path(tmp_path / "nothing"), tmp_path) is None


def test_shards_put_together_are_the_whole(monkeypatch, tmp_path, calls):
    from spft.data.speech import find_speech

    data, dump = tmp_path / "set", tmp_path / "dump"
    data.mkdir()
    with open(data / "wav.scp", "w") as table:
        for i, name in enumerate("abcde"):
            wave = np.full(8000 + 400 * (i % 2), (i + 1) / 9)
            soundfile.write(tmp_path / f"{name}.wav", wave, 16000)
            print(name, tmp_path / f"{name}.wav", file=table)
    options = ["--data", data, "--dump", dump, "--encoder", str(tmp_path)]
    run_main(extract_features, monkeypatch, *options, "--shard", "1/2")
    with pytest.raises(UserError, match="2of2"):
        run_main(extract_features, monkeypatch, *options, "--merge", "2")
    run_main(extract_features, monkeypatch, *options, "--shard", "2/2")
    assert find_speech(data, dump).kind == "sound"
    run_main(extract_features, monkeypatch, *options, "--merge", "2")
    speech = find_speech(data, dump)
    assert list(speech.lengths) == list("abcde")
    assert speech.written(list("abc")) == ["", "Play 2 songs.", ""]
    assert speech.transcripts(["d"]) == ["play two songs"]
    for i, name in enumerate("abcde"):
        assert speech.load(name).max() == pytest.approx((i + 1) / 9, abs=1e-4)
    with pytest.raises(UserError, match="3/2"):
        run_main(extract_features, monkeypatch, *options, "--shard", "3/2")
    run_main(extract_features, monkeypatch, *options, "--shard", "1/3")
    assert not list(dump.glob("*.1of3"))  # the whole set is there


def test_bad_audio_names_the_list_and_leaves_no_marker(monkeypatch, tmp_path, calls):
    data = tmp_path / "set"
    data.mkdir()
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 16000)
    (data / "wav.scp").write_text(f"a {tmp_path}/a.wav\n")
    with pytest.raises(UserError, match="wav.scp:1"):
        run_main(extract_features, monkeypatch, "--data", data, "--dump",
                 tmp_path / "dump", "--encoder", str(tmp_path))  # fmt: skip
    assert not (tmp_path / "dump" / "set" / ".done").exists()
    assert not (tmp_path / "dump" / "set" / "feats.scp").exists()

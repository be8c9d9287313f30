"""Transcribing files: what is taken in, cut and written."""

import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file

from spft import pack
from spft.bin import transcribe
from spft.bin.pack import best_system, find_domain
from spft.data.audio import read_audio
from spft.errors import UserError
from spft.search.config import DecodeConfig
from spft.speech2text import _samples
from spft.vad import split

ROOT = Path(__file__).parents[1]

SPEECH = ROOT / ("egs2/librispeech/asr1/downloads/audio/af_bella-general-test-0010.ogg")


class Recogniser:
    """Says how long each stretch was, in tenths of a second."""

    def recognise(self, waveforms):
        from spft.speech2text import Transcript

        texts = [f"{len(wave) / 1600:.0f} tenths" for wave in waveforms]
        return [[Transcript(t, -1.0, {}), Transcript("b", -2.0, {})] for t in texts]


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Two utterances with four seconds of faint noise before, between and after."""
    speech = read_audio(SPEECH)
    noise = np.random.default_rng(0).normal(0, 1e-4, 4 * 16000).astype(np.float32)
    path = tmp_path_factory.mktemp("audio") / "call.wav"
    soundfile.write(path, np.concatenate([noise, speech, noise, speech, noise]), 16000)
    return path, len(speech) / 16000


def test_long_audio_is_cut_at_its_pauses(recording):
    path, seconds = recording
    waveform = read_audio(path)
    stretches = split(waveform, longest=seconds + 1)
    expected = [(4, 4 + seconds), (8 + seconds, 8 + 2 * seconds)]
    assert np.array(stretches) / 16000 == pytest.approx(np.array(expected), abs=0.6)
    assert split(waveform, longest=60) == [(stretches[0][0], stretches[1][1])]
    assert split(waveform[: 3 * 16000], longest=60) == []


def test_cutting_leaves_torch_its_threads(recording):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    sys.modules.pop("silero_vad", None)  # whose import sets one
    sys.modules.pop("silero_vad.model", None)
    split(read_audio(recording[0]), longest=60)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)


def test_samples_of_other_kinds():
    tone = np.sin(np.arange(8000) / 5)
    samples = _samples((tone * 32767).astype(np.int16), 16000)
    assert np.abs(samples - tone).max() < 1e-4
    assert len(_samples(tone, 8000)) == 16000
    for wrong, words in (
        (np.zeros((8000, 2)), "of shape .8000, 2."),
        (np.zeros(8000, dtype=np.uint8), "array of uint8"),
        (np.zeros(8000), "digital silence"),
        (np.full(8000, np.nan), "not finite"),
        (tone[:100], "too short"),
    ):
        with pytest.raises(UserError, match=words):
            _samples(wrong, 16000)


def test_results_in_all_forms(recording, tmp_path, capsys):
    path, seconds = recording
    result = transcribe.transcribe(Recogniser(), path, seconds + 1, nbest=2)
    assert len(result["segments"]) == 2
    assert [h["text"] for h in result["segments"][0]["nbest"]][1] == "b"
    result |= {"audio": str(path), "domain": "music"}
    transcribe.write(result, "text", None, None)
    assert capsys.readouterr().out == f"{path}\t{result['text']}\n"
    transcribe.write(result, "json", tmp_path, "music")
    assert json.loads((tmp_path / "call.music.json").read_text()) == result
    transcribe.write(result, "srt", tmp_path, None)
    blocks = (tmp_path / "call.srt").read_text().strip().split("\n\n")
    assert len(blocks) == 2 and blocks[1].startswith("2\n00:00:")
    assert transcribe._clock(3723.4567) == "01:02:03,457"


def test_files_folders_and_stdin(tmp_path, monkeypatch, capsys):
    for name in ("a.wav", "._a.wav", ".old/a.wav", "sub/b.OGG", "c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    a, b = tmp_path / "a.wav", tmp_path / "sub/b.OGG"
    assert list(transcribe.find_audio([str(tmp_path)])) == [str(a), str(b)]
    assert f"{tmp_path}: 1 other files are left out" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{b}\n{a}\n"))
    assert list(transcribe.find_audio(["-"])) == [str(b), str(a)]
    with pytest.raises(UserError, match="no such file"):
        list(transcribe.find_audio([str(tmp_path / "d.wav")]))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no audio in this folder"):
        list(transcribe.find_audio([str(tmp_path / "empty")]))


@pytest.mark.parametrize("wrong", ["--beam 0", "--nbest -1", "--longest 0"])
def test_numbers_that_make_no_sense(wrong):
    with pytest.raises(SystemExit):
        transcribe.get_parser().parse_args(["--model", "x", "y", *wrong.split()])


def test_a_bad_recording_does_not_stop_the_others(
    recording, stages, tmp_path, monkeypatch, capsys
):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF")
    stage = str(stages / "baseline")  # in place of a pack
    command = ["x", "--model", stage, "--beam", "2", str(bad), str(recording[0])]
    monkeypatch.setattr("sys.argv", [*command, "--domain", "base,musik"])
    with pytest.raises(UserError, match="no domain 'musik'; there is base"):
        transcribe.main()
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(UserError, match="1 of 2 recordings failed"):
        transcribe.main()
    shown = capsys.readouterr()
    assert shown.out.startswith(f"{recording[0]}\t") and "bad.wav" in shown.err
    twin = tmp_path / "bad.flac"
    twin.touch()
    monkeypatch.setattr("sys.argv", [*command, str(twin), "--out", str(tmp_path)])
    with pytest.raises(UserError, match="bad.flac: .*bad.wav has that name too"):
        transcribe.main()
    bad.with_suffix(".txt").write_text("what was said\n")
    monkeypatch.setattr("sys.argv", [*command, "--out", str(tmp_path)])
    with pytest.raises(UserError, match="bad.txt: is there already"):
        transcribe.main()
    monkeypatch.setattr("sys.argv", [*command, "--nbest", "2"])
    with pytest.raises(UserError, match="--nbest: add --format json"):
        transcribe.main()


def test_what_is_no_pack(tmp_path, monkeypatch):
    monkeypatch.setenv("SPFT_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="no such archive"):
        pack.open_pack(tmp_path / "none.zip")
    with pytest.raises(UserError, match="neither a pack"):
        pack.open_pack(tmp_path)
    (tmp_path / "half.zip").write_bytes(b"PK\x03\x04 half of it")
    with pytest.raises(UserError, match="not a whole zip"):
        pack.open_pack(tmp_path / "half.zip")
    (tmp_path / "pack.yaml").write_text("format: 7\n")
    with pytest.raises(UserError, match="of format 7"):
        pack.open_pack(tmp_path)


def test_another_base_model_is_refused(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"weights")
    known = pack.checksum(str(model))
    manifest = f"format: {pack.FORMAT}\ndecode: {{}}\ndomains: {{}}\nmodels:\n"
    manifest += f"  {model}: {{sha256: {known}}}\n"
    (tmp_path / "pack.yaml").write_text(manifest)
    assert pack.open_pack(tmp_path).domains == {}
    (model / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(UserError, match="its adapters fit no other model"):
        pack.open_pack(tmp_path)


def test_a_pack_searches_as_stage_7_did(tmp_path):
    with pytest.raises(UserError, match="not decoded since it was trained"):
        find_domain(tmp_path, "music", "soft_prompt")
    report = {"weights": {}, "config": {"beam": 2, "keep_prompt": False}}

    def write(tag, system="soft_prompt"):
        folder = tmp_path / f"music/{system}/decode_{tag}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "decode.json").write_text(json.dumps(report))

    write("plain")  # all that `--fusion false` leaves
    found = find_domain(tmp_path, "music", "soft_prompt")
    assert found.decode["beam"] == 2 and not found.second
    assert not found.external
    write("plain", "base")
    assert find_domain(tmp_path, "music", "base").model == tmp_path / "baseline"
    report["weights"] = {"lm": 0.0}
    write("lm")
    assert not find_domain(tmp_path, "music", "soft_prompt").external
    report["weights"] = {"ctc": 1.0, "ngram": 0.0}
    write("second")
    for name in ("lm", "ngram"):
        (tmp_path / "music" / name).mkdir()
    found = find_domain(tmp_path, "music", "soft_prompt")
    assert found.decode["beam"] == 2 and found.second == report["weights"]
    # They have no weight, but the n-gram chooses what the others judge.
    assert found.external == {n: tmp_path / "music" / n for n in ("lm", "ngram")}
    assert found.model == tmp_path / "music/soft_prompt"
    (tmp_path / "music/ngram").rmdir()
    with pytest.raises(UserError, match="ngram: not there, but stage 7 used it"):
        find_domain(tmp_path, "music", "soft_prompt")
    (tmp_path / "music/ngram").mkdir()
    model = tmp_path / "music/soft_prompt/model.safetensors"
    model.write_text("trained again")
    report["sha256"] = {str(model): "of before"}
    write("second")
    with pytest.raises(UserError, match="made from an earlier .*; run stage 7"):
        find_domain(tmp_path, "music", "soft_prompt")
    del report["sha256"]
    report["config"]["keep_prompt"] = True
    for tag in ("lm", "second"):
        shutil.rmtree(tmp_path / f"music/soft_prompt/decode_{tag}")
    for tag in ("plain", "second"):
        write(tag)
        with pytest.raises(UserError, match="decoded with its prompt kept"):
            find_domain(tmp_path, "music", "soft_prompt")


def test_the_best_system_on_dev_is_packed(tmp_path):
    def write(system, tag, weights=None, **errors):
        folder = tmp_path / system / f"decode_{tag}"
        folder.mkdir(parents=True)
        rows = [{"lm": float(w[3:]), "error": e} for w, e in errors.items()]
        report = {"weights": {"lm": weights} if errors else {}, "sweep": rows}
        (folder / "decode.json").write_text(json.dumps(report))

    systems = ["base", "no_prompt", "soft_prompt"]
    for system in systems:
        write(system, "plain")
    assert best_system(tmp_path, systems) == "soft_prompt"  # the last: none has a dev
    write("base", "lm", 1, lm_0=9.0, lm_1=8.5)
    write("no_prompt", "lm", 0, lm_0=7.0, lm_1=7.5)
    assert best_system(tmp_path, systems) == "no_prompt"
    # With a second pass, that is what will be done; by the weights that were chosen.
    write("base", "second", 0, lm_0=6.0)
    write("no_prompt", "second", 0, lm_0=6.5, lm_1=5.5)
    assert best_system(tmp_path, systems) == "base"
    assert best_system(tmp_path, systems[1:2]) == "no_prompt"
    assert best_system(tmp_path, systems[:2], ["plain", "lm"]) == "no_prompt"
    # Where one has no second pass, the others are not judged by theirs.
    write("soft_prompt", "lm", 0, lm_0=6.8)
    assert best_system(tmp_path, systems) == "soft_prompt"


def test_domains_of_a_pack_share_an_llm(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    config = {"llm_conf": {"name": str(model)}, "encoder_conf": {}}
    domains = {}
    for name, key in (("music", "llm.lora_A"), ("base", "llm.weight")):
        domains[name] = pack.Domain(tmp_path / name)
        domains[name].model.mkdir()
        (domains[name].model / "config.yaml").write_text(json.dumps(config))
        tensors = {key: torch.zeros(1), f"adapt.{name}": torch.zeros(1)}
        save_file(tensors, domains[name].model / "model.safetensors")
    with pytest.raises(UserError, match="model: neither .*safetensors"):
        pack.write_pack(domains, DecodeConfig(), tmp_path / "pack.zip")
    (model / "model.safetensors").write_bytes(b"weights")
    with pytest.raises(UserError, match="base: other parts were trained than of music"):
        pack.write_pack(domains, DecodeConfig(), tmp_path / "pack.zip")
    assert not (tmp_path / "pack.zip").exists()


def test_licences_of_base_models(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"weights")
    assert pack.identity(str(model))["licence"] == "not stated"
    (model / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    assert pack.identity(str(model)) == {
        "sha256": pack.checksum(str(model)),
        "licence": "apache-2.0",
    }
    assert pack.identity("moonshine-base")["licence"] == "MIT"

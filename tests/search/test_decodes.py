"""Decodes on disk: what a second pass reads is what the search found."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import soundfile

from spft.bin.decode import decode_system
from spft.bin.second_pass import choose_weights
from spft.data.speech import SpeechSource, find_speech
from spft.errors import UserError
from spft.llm import LLM
from spft.scoring.lineage import changed
from spft.search import decodes
from spft.search.candidates import Candidates
from spft.search.config import DecodeConfig
from spft.search.hypothesis import Hypothesis


def test_nbest_lists_come_back(tiny_llm, texts, tmp_path):
    llm = LLM(str(tiny_llm), dtype="float32")
    found = [
        Hypothesis(
            llm.encode(text), -1.5 * n, {"llm": -1.0 * n, "ctc": -0.5 * n}, n > 1
        )
        for n, text in enumerate(texts[:3])
    ]
    results = {"a": found, "c": [], "b": found[:1]}
    speech = SpeechSource(tmp_path / "wav.scp", "sound", dict.fromkeys("cab", 1))
    decodes.write_results(tmp_path / "set", results, llm)
    read = decodes.read_results(tmp_path / "set", speech)
    assert read == results and list(read) == ["c", "a", "b"]  # as the set has them
    first = (tmp_path / "set" / "text").read_text().splitlines()
    assert first == [f"a {texts[0]}", f"b {texts[0]}", "c"]
    del speech.lengths["b"]
    with pytest.raises(UserError, match="'b' is not in the set; decode again"):
        decodes.read_results(tmp_path / "set", speech)
    with pytest.raises(UserError, match=r"nbest\.jsonl: not found; run spft"):
        decodes.read_results(tmp_path / "other", speech)


def test_what_a_decode_is_made_of(tmp_path):
    out, model, lm = (tmp_path / name for name in ("out", "model", "lm"))
    for path in (model / "model.safetensors", lm / "valid.loss.best.pth"):
        path.parent.mkdir()
        path.write_text("weights")

    data = tmp_path / "set"
    data.mkdir()
    (data / "wav.scp").write_text(f"a {tmp_path}/a.wav\n")
    (tmp_path / "a.wav").write_text("audio")

    def made_of(beam=4):
        files = decodes.checksums(model, {"lm": lm}, [data], tmp_path)
        return {"sha256": files, "config": DecodeConfig(beam=beam).of_search()}

    assert len(made_of()["sha256"]) == 4
    assert not decodes.is_finished(out, made_of(), resume=True)
    with pytest.raises(UserError, match="run spft.bin.decode first"):
        decodes.read_report(out)
    decodes.write_report(out, made_of() | {"weights": {}})
    assert decodes.is_finished(out, made_of(), resume=True)
    assert not decodes.is_finished(out, made_of(beam=2), resume=True)
    assert not decodes.is_finished(out, made_of(), resume=False)
    # What had no names.txt is another than what had one.
    assert not decodes.is_finished(out, made_of() | {"without": []}, resume=True)
    (lm / "valid.loss.best.pth").write_text("others")
    assert not decodes.is_finished(out, made_of(), resume=True)
    (lm / "valid.loss.best.pth").write_text("weights")
    assert decodes.is_finished(out, made_of(), resume=True)
    plain = made_of()  # which asks no LM
    plain["sha256"] = decodes.checksums(model, {}, [data], tmp_path)
    assert not decodes.is_finished(out, plain, resume=True)
    none = made_of()  # of fewer sets
    none["sha256"] = decodes.checksums(model, {"lm": lm}, [], tmp_path)
    assert decodes.is_finished(out, none, resume=True)
    before = made_of()["sha256"]
    assert changed(before) is None
    (tmp_path / "a.wav").write_text("other audio")  # which the model reads itself
    assert not decodes.is_finished(out, made_of(), resume=True)
    assert changed(before) == str(data)
    (tmp_path / "a.wav").unlink()
    assert changed(before) is None  # what is gone is taken as unchanged


def test_a_decode_that_was_stopped_is_not_finished(tmp_path):
    """Decoded anew with another beam, stopped: not that of the first beam."""
    out, sets = tmp_path / "decode_plain", {}
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(1600), 16000)
        (tmp_path / name / "wav.scp").write_text(f"{name} {tmp_path}/{name}.wav\n")
        sets[tmp_path / name] = find_speech(tmp_path / name, tmp_path / "dump")
    decodes.write_report(out, {"beam": 4})
    (out / "a").mkdir()
    (out / "a" / "score.json").write_text("{}")

    class Stopped:
        llm = SimpleNamespace(decode=lambda tokens: "hello")
        scorers: ClassVar[dict] = {}

        def decode(self, speech, weights, name):
            if "b" in speech.lengths:
                raise KeyboardInterrupt
            return {u: [Hypothesis([3], 0.0, {})] for u in speech.lengths}

    with pytest.raises(KeyboardInterrupt):
        decode_system(Stopped(), sets, None, {}, tmp_path, {"plain": {"beam": 8}})
    assert (out / "a" / "text").read_text() == "a hello\n"
    assert not (out / "a" / "score.json").exists()
    assert not decodes.is_finished(out, {"beam": 4}, resume=True)


def test_features_of_other_utterances(tmp_path):
    data, frames = tmp_path / "set", tmp_path / "dump" / "set"
    for folder in (data, frames):
        folder.mkdir(parents=True)
    (data / "wav.scp").write_text("a a.wav\nb b.wav\n")
    (frames / "feats.scp").write_text("a feats.ark:2\n")
    (frames / "utt2num_frames").write_text("a 7\n")
    with pytest.raises(UserError, match="dump/set: of other utterances .* run stage 2"):
        find_speech(data, tmp_path / "dump")


def test_systems_and_sets_that_are_not_there(tmp_path, tiny_data):
    (tmp_path / "model.safetensors").touch()
    two = [f"a={tmp_path}", f"b={tmp_path}"]
    assert decodes.find_systems(two, None) == [("a", tmp_path), ("b", tmp_path)]
    assert decodes.find_systems(two, 2) == [("b", tmp_path)]
    with pytest.raises(UserError, match="--only 3: there are 2 systems"):
        decodes.find_systems(two, 3)
    with pytest.raises(UserError, match="NAME=FOLDER, not 'exp/baseline'"):
        decodes.find_systems(["exp/baseline"], None)
    with pytest.raises(UserError, match="two are called 'a'"):
        decodes.find_systems([two[0], two[0]], None)
    with pytest.raises(UserError, match="run stages 3 to 5 first"):
        decodes.find_systems(["a=nowhere"], None)
    paired = tiny_data / "paired"
    found = decodes.find_sets([paired], tmp_path)
    assert found == {paired: find_speech(paired, tmp_path)}
    with pytest.raises(UserError, match="two data sets of one name"):
        decodes.find_sets([paired, Path("other/paired")], tmp_path)
    with pytest.raises(UserError, match="run stage 1 first"):
        decodes.find_sets([tmp_path], tmp_path)


def test_error_rates_of_all_sets_count_the_same(tmp_path):
    """Each set wants another weight; how large it is does not matter."""
    found, grid = {}, [0.0, 1.0, 2.0]
    for name, count, liked in (("music", 8, "b"), ("general", 2, "a")):
        folder = tmp_path / name
        folder.mkdir()
        wanted = {f"{name}-{n}": liked for n in range(count)}
        (folder / "text").write_text("".join(f"{u} {t}\n" for u, t in wanted.items()))
        # The LLM likes "a"; the n-gram "b", from a weight of 1 or of 2 on.
        gains = [0.7 if name == "music" else 1.4] * count
        found[folder] = {
            utterance: Candidates(
                ["a", "b"], [[3], [4]], {"llm": [1.0, 0.0], "ngram": [0.0, 1 / gain]}
            )
            for utterance, gain in zip(wanted, gains, strict=True)
        }
    grids = {"ngram": grid, "ctc": [0.5]}
    config = DecodeConfig(second_pass_weights=grids, gates=[0.0])
    music, general = found
    weights, sweep = choose_weights(config, found, [music, general])
    assert weights == {"ngram": 1.0, "gate": 0.0}
    assert {row["ngram"]: row["error"] for row in sweep} == {0.0: 50, 1.0: 0, 2.0: 50}
    assert choose_weights(config, found, [music])[0] == {"ngram": 2.0, "gate": 0.0}
    json.dumps(sweep)

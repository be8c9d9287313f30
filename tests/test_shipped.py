"""The shipped baseline on embedded speech: first pass, search and second pass."""

import json
import random
from dataclasses import replace
from pathlib import Path

import jiwer
import numpy as np
import pytest
import soundfile
import torch

from spft.adapt.confusions import Confusions
from spft.bin import extract_features
from spft.data.audio import read_audio
from spft.data.speech import Waveforms, find_speech
from spft.recognizer import Recognizer
from spft.search.beam import BeamSearch
from spft.search.config import DecodeConfig
from spft.search.phrases import Phrases
from spft.search.second_pass import SecondPass

RECIPE = Path(__file__).parents[1] / "egs2/librispeech/asr1"
BASELINE, CORPUS = RECIPE / "baseline", RECIPE / "downloads"
CONFIG = DecodeConfig(beam=2)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """Texts of three utterances, a data directory of them and of faint noise."""
    root = tmp_path_factory.mktemp("shipped")
    data = root / "spoken"
    data.mkdir()
    lines = (CORPUS / "test.jsonl").read_text(encoding="utf-8").splitlines()[:3]
    texts = {row["id"]: row["text"] for row in map(json.loads, lines)}
    paths = {name: CORPUS / "audio" / f"{name}.ogg" for name in texts}
    noise = 1e-3 * np.random.default_rng(0).standard_normal(8000)
    paths["noise"] = root / "noise.wav"
    soundfile.write(paths["noise"], noise, 16000)
    lines = [f"{name} {path.resolve()}\n" for name, path in sorted(paths.items())]
    (data / "wav.scp").write_text("".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        words = ["extract_features", "--data", str(data), "--dump", str(root / "dump")]
        patch.setattr("sys.argv", words)
        extract_features.main()
    return texts, data, root / "dump"


@pytest.fixture(scope="module")
def recognizer():
    return Recognizer(BASELINE, CONFIG, {})


@pytest.fixture(scope="module")
def found(spoken, recognizer):
    """N-best lists of the directory."""
    _, data, dump = spoken
    return recognizer.decode(find_speech(data, dump), {})


def test_it_recognises(spoken, recognizer, found):
    texts, data, _ = spoken
    best = recognizer.best_texts(found)
    assert jiwer.wer([*texts.values()], [best[name] for name in texts]) < 0.1
    # Out of a data directory with features, and from samples.
    waves = {name: read_audio(CORPUS / "audio" / f"{name}.ogg") for name in texts}
    waves["noise"] = read_audio(data.parent / "noise.wav")
    again = recognizer.decode(Waveforms(waves, recognizer.moonshine), {})
    for name in found:
        assert [h.tokens for h in again[name]] == [h.tokens for h in found[name]]
        assert again[name][0].score == pytest.approx(found[name][0].score, abs=1e-3)


def test_its_llm_writes_by_itself(spoken, found):
    """With no other judge, and no first pass among the hypotheses."""
    texts, data, dump = spoken
    config = replace(CONFIG, ctc_weight=0.0, first_pass_weight=0.0)
    alone = Recognizer(BASELINE, config, {})
    nbests = alone.decode(find_speech(data, dump), {})
    assert all({"llm"} == {*h.parts} for nbest in nbests.values() for h in nbest)
    best = alone.best_texts(nbests)
    assert jiwer.wer([*texts.values()], [best[name] for name in texts]) < 0.1


def test_its_table_of_confusions_misspells(spoken):
    texts = [*spoken[0].values()]
    confusions = Confusions.read(BASELINE / "confusions.json")
    rng = random.Random(0)
    rates = [
        jiwer.cer(texts, [confusions.corrupt(text, scale, rng) for text in texts])
        for scale in (0.0, 1.0, 3.0)
    ]
    assert rates[0] == 0 < rates[1] < 0.3 and rates[1] < rates[2]


def test_a_first_pass_that_the_search_lost(spoken, recognizer, found, monkeypatch):
    """It joins the list with the score that the search would have given it."""
    _, data, dump = spoken
    speech = find_speech(data, dump)
    monkeypatch.setattr(BeamSearch, "__call__", lambda self, prefix, limits: [[]] * 4)
    lost, compared = recognizer.decode(speech, {}), 0
    for utterance, nbest in lost.items():
        (hypothesis,) = nbest
        assert [recognizer.text(hypothesis)] == speech.transcripts([utterance])
        for searched in found[utterance]:
            if searched.tokens == hypothesis.tokens:
                assert hypothesis.parts == pytest.approx(searched.parts, abs=2e-2)
                compared += 1
    assert compared >= 3


def test_what_the_search_asked_is_not_asked_again(spoken, monkeypatch):
    """Judged from nothing, the texts of the n-best lists score as the search said."""
    _, data, dump = spoken
    # In bfloat16 a text's score depends on what it is batched with.
    monkeypatch.setattr("spft.llm.fast_dtype", lambda: torch.float32)
    recognizer = Recognizer(BASELINE, CONFIG, {})
    found = recognizer.decode(find_speech(data, dump), {})
    second = SecondPass(recognizer, Phrases(["the old bridge", "quiet"]))
    bare = {u: [replace(h, parts={}) for h in nbest] for u, nbest in found.items()}
    said = second.candidates(find_speech(data, dump), found)
    asked = second.candidates(find_speech(data, dump), bare)
    for utterance, candidates in said.items():
        assert candidates.texts == asked[utterance].texts
        assert {"llm", "first_pass", "ctc"} == candidates.log_probs.keys()
        for judge, log_probs in candidates.log_probs.items():
            expected = asked[utterance].log_probs[judge]
            assert log_probs == pytest.approx(expected, abs=2e-2), (utterance, judge)


def test_nothing_was_heard(spoken, recognizer):
    """An utterance of which neither first pass nor search found a word."""
    _, data, dump = spoken
    speech = find_speech(data, dump)
    speech = replace(speech, lengths={"noise": speech.lengths["noise"]})
    assert speech.transcripts(["noise"]) == [""]
    second = SecondPass(recognizer, Phrases(["quiet"]))
    (candidates,) = second.candidates(speech, {"noise": []}).values()
    assert candidates.texts == [""]
    assert np.isfinite(candidates.ranked({"ctc": 1.0}, 1.0)[0].score)

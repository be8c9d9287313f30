"""The page of a report: what is in it, and that it needs nothing from outside."""

import io
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from spft.bin.score import score
from spft.scoring.collect import collect
from spft.scoring.page import _against_base, interval, score_correlation, write_page


@pytest.fixture
def scored(tmp_path):
    """Two systems of a domain, scored for real."""
    data, exp = tmp_path / "data/music_test", tmp_path / "exp"
    data.mkdir(parents=True)
    texts = {"a": "play hey jude now", "b": "stop"}
    (data / "text").write_text("".join(f"{u} {t}\n" for u, t in texts.items()))
    (data / "utt2spk").write_text("a a\nb b\n")
    entity = {"type": "track", "text": "hey jude", "start": 1, "end": 3}
    (data / "entities").write_text(f"a\t{json.dumps([entity])}\n")
    soundfile.write(tmp_path / "a.ogg", np.zeros(1600), 16000)
    (data / "wav.scp").write_text(f"a {tmp_path}/a.ogg\nb {tmp_path}/none.ogg\n")
    found = {"base": "play hey you now", "soft_prompt": "play hey jude now"}
    for system, text in found.items():
        decode = exp / "music" / system / "decode_plain"
        (decode / "music_test").mkdir(parents=True)
        (decode / "music_test/text").write_text(f"a {text}\nb stop\n")
        (decode / "decode.json").write_text("{}")
        score(data, decode / "music_test")
    return exp, tmp_path / "data"


def content_of(page):
    (text,) = re.findall(r"^const content = (.*);$", page, re.M)
    return json.loads(text.replace("<\\/", "</"))


def test_the_page_holds_scores_alignments_and_audio(scored):
    exp, data = scored
    stream = io.StringIO()
    write_page(stream, exp, data, {"music": collect(exp, "music", "general_test")})
    page = stream.getvalue()
    domain = content_of(page)["music"]
    base, soft = domain["systems"]
    assert (base["wer"], soft["wer"]) == (20.0, 0.0)
    assert base["utterances"]["a"]["steps"][2] == ["S", "jude", "you"]
    assert [u["errors"] for u in soft["utterances"].values()] == [0, 0]
    assert base["utterances"]["a"]["entities"][0]["text"] == "hey jude"
    assert base["confusions"] == [["track", "hey jude", "hey you", 1]]
    assert domain["audio"].keys() == {"a"}
    assert domain["audio"]["a"].startswith("data:audio/ogg;base64,T2dnUw")
    # Offline: nothing is fetched.
    assert not re.search(r'(src|href)="?http|@import|fetch\(', page)


def test_diagnosis_names_what_did_not_help(scored):
    exp, data = scored
    folder = exp / "music/soft_prompt/decode_plain/music_test"
    (folder / "text").write_text("a play hey you now\nb stop it\n")
    score(data / "music_test", folder)
    stream = io.StringIO()
    write_page(stream, exp, data, {"music": collect(exp, "music", "general_test")})
    said = " ".join(content_of(stream.getvalue())["music"]["diagnosis"])
    assert "soft prompt: EER is 100.00, no better than base's 100.00" in said
    assert "soft prompt: WER is 40.00, no better than base's 20.00" in said


def test_diagnosis_names_what_the_second_pass_broke():
    def row(tag, **scores):
        about = SimpleNamespace(label=f"base {tag}", tag=tag)
        return SimpleNamespace(row=about, scores=scores, general={"wer": 1.0})

    base = row("plain", wer=4.0, eer=13.0, eer_unseen=25.0)
    assert _against_base(row("second", wer=3.5, eer=12.0, eer_unseen=27.0), base) == []
    said = _against_base(row("second", wer=3.5, eer=12.0, eer_unseen=39.0), base)
    assert len(said) == 1 and "lacks rises from 25.00 to 39.00" in said[0]
    seen_only = row("second", wer=3.5, eer=12.0, eer_unseen=None)
    assert _against_base(seen_only, base) == []


def test_the_interval_holds_the_rate():
    rng = np.random.default_rng(1)
    counts = [(int(e), 10) for e in rng.binomial(10, 0.2, 200)]
    low, high = interval(counts)
    rate = 100 * sum(e for e, _ in counts) / 2000
    assert low < rate < high and high - low < 6
    assert interval([(1, 10)] * 50) == [10.0, 10.0]


def test_scores_of_lm_and_decoder_are_correlated(tmp_path):
    nbest = tmp_path / "nbest.jsonl"
    rows = [
        # What differs between the utterances, -10 against -90, must not count.
        ("a", -10.0, -5.0), ("a", -12.0, -4.0), ("a", -14.0, -3.0),
        ("b", -90.0, -50.0), ("b", -91.0, -49.5),
    ]  # fmt: skip
    with open(nbest, "w") as stream:
        for utt, llm, lm in rows:
            print(
                json.dumps({"utt": utt, "parts": {"llm": llm, "lm": lm}}), file=stream
            )
    assert score_correlation(nbest) == {"lm": -1.0}
    assert score_correlation(tmp_path / "missing") == {}
    with open(nbest, "w") as stream:
        print(json.dumps({"utt": "a", "parts": {"llm": -1.0}}), file=stream)
    assert score_correlation(nbest) == {}

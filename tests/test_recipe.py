"""The recipe itself, run for real: the driver, its stages and its complaints."""

import fcntl
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from spft.errors import UserError

ROOT = Path(__file__).parents[1]
SYSTEMS = ("base", "no_prompt", "soft_prompt", "noisy_text")


def test_help_names_every_option_and_stage(recipe):
    result = recipe("--help")
    assert result.returncode == 0
    source = (ROOT / "run.sh").read_text()
    header = source.split("# Options")[1].split("\n\n")[0]
    options = re.findall(r"^([a-z_]+)=", header, re.M)
    assert len(options) >= 10
    scripts = source + (ROOT / "local/helpers.sh").read_text()
    scripts += (ROOT / "local/adapt.sh").read_text()
    scripts += (ROOT / "local/prepare.sh").read_text()
    shown = result.stdout
    for option in options:
        assert f"  --{option} " in shown
        assert re.search(rf"\${{?{option}\b", scripts)  # something reads it
    for stage in range(1, 10):
        assert re.search(rf"^ +{stage}  \S", shown, re.M)


def test_a_sum_of_what_is_not_there():
    call = "set -euo pipefail; . local/helpers.sh; a=$(sum_of no/such/file); echo $a"
    done = subprocess.run(["bash", "-c", call], cwd=ROOT, capture_output=True)
    assert done.returncode == 0 and done.stdout


def test_names_that_no_domain_may_have():
    from spft.bin.new_domain import RESERVED

    (pattern,) = re.findall(r"domain =~ (\^\(base\S+)", (ROOT / "run.sh").read_text())
    assert all(re.match(pattern, name) for name in RESERVED - {"librispeech"})


def test_every_method_has_a_row_in_the_report():
    from spft.scoring.collect import SYSTEMS as ROWS

    (known,) = re.findall(r'^known="(.*)"$', (ROOT / "run.sh").read_text(), re.M)
    assert set(known.split()) == ROWS.keys() - {"base", "first_pass"}


@pytest.mark.parametrize(
    "options, words",
    [
        (["--stgae", "2"], ["unknown option", "--stgae"]),
        (["--stage", "10"], ["stage '10'"]),
        (["--stage", "5", "--stop_stage", "4"], ["comes after"]),
        (["--stage"], ["needs a value"]),
        (["--preset", "huge"], ["no preset"]),
        (["--preset", ""], ["no preset"]),
        (["--domains", "../egs2/music"], ["no recipe"]),
        (["--max_epoch", "none"], ["--max_epoch"]),
        (["--resume", "yes"], ["--resume", "one of true, false"]),
        (["--domains", "medical"], ["egs2/medical"]),
    ],
)
def test_bad_options_end_in_one_line(recipe, options, words):
    result = recipe(*options)
    assert result.returncode == 1
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ")
    assert all(word in lines[0] for word in words)


def test_a_baseline_of_ones_own_stays(recipe, tmp_path):
    weights = tmp_path / "baseline" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"of a week")
    part = ("--stage", "3", "--stop_stage", "3", "--expdir", str(tmp_path))
    result = recipe(*part)
    assert result.returncode == 1 and "is not the shipped one" in result.stderr
    assert weights.read_bytes() == b"of a week"
    shutil.rmtree(weights.parent)
    assert recipe(*part).returncode == 0 and weights.stat().st_size > 1e6


def test_two_runs_do_not_meet(recipe, tmp_path):
    part = ("--expdir", str(tmp_path), "--stage", "3", "--stop_stage", "3")
    with open(tmp_path / ".lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        result = recipe(*part)
        assert result.returncode == 1
        assert f"is at work in {tmp_path}" in result.stderr
        assert not (tmp_path / "baseline").exists()
    assert recipe(*part).returncode == 0


def test_data_are_read_by_several_and_written_by_one(recipe, tmp_path):
    read, write = (
        ("--expdir", str(tmp_path), "--stage", str(stage), "--stop_stage", "3")
        for stage in (3, 1)
    )
    (ROOT / "data").mkdir(exist_ok=True)
    for mode, status in ((fcntl.LOCK_SH, 0), (fcntl.LOCK_EX, 1)):
        with open(ROOT / "data/.lock", "w") as held:
            try:
                fcntl.flock(held, mode | fcntl.LOCK_NB)
            except BlockingIOError:
                pytest.skip("a run.sh of this folder is at work")
            assert recipe(*read).returncode == status
            result = recipe(*write)
            assert result.returncode == 1
            assert "is at work in data; wait for it, or begin" in result.stderr


def test_missing_inputs_name_the_stage_to_run(tiny):
    _, missing = tiny
    assert missing.returncode == 1
    last = missing.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ") and "--stage 3 --stop_stage 3" in last


def test_tiny_recipe_ends_in_a_scored_comparison(tiny):
    result, _ = tiny
    exp = ROOT / "exp" / "tiny"
    for domain in ("music", "chatbot"):
        for system in SYSTEMS:
            for tag in ("plain", "lm", "second"):
                decode = exp / domain / system / f"decode_{tag}"
                for name in (f"{domain}_test", "general_test"):
                    folder = decode / name
                    scores = json.loads((folder / "score.json").read_text())
                    assert scores["wer"] is not None
                    assert (folder / "score_wer" / "result.txt").exists()
                    n = len((ROOT / "data" / "tiny" / name / "text").read_text()
                            .splitlines())  # fmt: skip
                    assert len((folder / "text").read_text().splitlines()) == n
                weights = json.loads((decode / "decode.json").read_text())["weights"]
                assert bool(weights) == (tag != "plain")
    for word in ("music", "chatbot", "WER", "EER", "soft prompt", "no prompt"):
        assert word in result.stdout
    results = (exp / "RESULTS.md").read_text()
    for command in ("decode", "second_pass"):
        assert f"spft.bin.{command} " in results, "the exact commands are in the report"
    assert re.search(r"^\| soft_prompt +\| [\d,]+ +\| \d", results, re.M), "training"


def test_the_pack_transcribes_as_stage_7_did(tiny, tmp_path, monkeypatch, capsys):
    from spft.bin import transcribe
    from spft.bin.pack import best_system
    from spft.data.table import read_table
    from spft.speech2text import Speech2Text

    monkeypatch.chdir(ROOT)  # the tiny LLM's path is relative
    monkeypatch.setenv("SPFT_CACHE", str(tmp_path))
    exp, data = ROOT / "exp" / "tiny", ROOT / "data" / "tiny" / "music_test"
    audio = dict(list(read_table(data / "wav.scp").items())[:2])
    command = ["x", "--model", str(exp / "pack.zip"), "--format", "json"]
    command += ["--nbest", "2", "--domain", "base,music,base", *audio.values()]
    monkeypatch.setattr("sys.argv", command)
    transcribe.main()
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    best = best_system(exp / "music", SYSTEMS)
    decodes = {"base": "base/decode_plain", "music": f"{best}/decode_second"}
    expected = {
        domain: read_table(exp / "music" / decode / "music_test/text", allow_empty=True)
        for domain, decode in decodes.items()
    }
    assert [row["domain"] for row in rows] == ["base"] * 2 + ["music"] * 2 + [
        "base"
    ] * 2
    for row, utterance in zip(rows, [*audio] * 3, strict=True):
        assert row["text"] == expected[row["domain"]][utterance]
        best, *others = row["segments"][0]["nbest"]
        assert all(best["score"] >= other["score"] for other in others)
    # Back in the first domain, nothing of the second is left.
    assert [r["segments"] for r in rows[:2]] == [r["segments"] for r in rows[4:]]
    names = tmp_path / "names.txt"
    names.write_text("The Weeknd\nMotorhead\n")
    monkeypatch.setattr("sys.argv", ["x", "--model", str(exp / "pack.zip"), "--domain",
                        "music", "--names", str(names), *audio.values()])  # fmt: skip
    transcribe.main()
    assert len(capsys.readouterr().out.splitlines()) == 2
    monkeypatch.setattr("sys.argv", [*sys.argv[:4], "base", *sys.argv[5:]])
    with pytest.raises(UserError, match="'base' has no second pass"):
        transcribe.main()
    # A domain that cannot be loaded leaves the one in use as it was.
    asr = Speech2Text.from_pretrained(exp / "pack.zip", domain="base")
    before = asr(next(iter(audio.values())))
    asr.pack.domains["music"].external["lm"] = tmp_path
    with pytest.raises(UserError, match="no language model here"):
        asr.use("music")
    assert asr.domain == "base" and asr(next(iter(audio.values()))) == before


def test_the_second_pass_judges_each_utterance_alone(tiny, monkeypatch):
    from spft.data.speech import find_speech
    from spft.data.table import read_table
    from spft.recognizer import Recognizer
    from spft.search import second_pass
    from spft.search.config import DecodeConfig
    from spft.search.hypothesis import Hypothesis
    from spft.search.phrases import Phrases

    config = DecodeConfig.read("conf/decode.yaml")
    ngram = {"ngram": ROOT / "exp/tiny/music/ngram"}
    recognizer = Recognizer(ROOT / "exp/tiny/baseline", config, ngram)
    speech = find_speech(ROOT / "data/tiny/music_dev", ROOT / "dump/tiny")
    # What was said, as no search told it: all is judged anew.
    said = read_table(ROOT / "data/tiny/music_dev/text")
    encode = recognizer.llm.encode
    nbests = {u: [Hypothesis(encode(text), 0.0, {}, True)] for u, text in said.items()}
    phrases = Phrases.of(ROOT / "data/tiny/music_text/train")
    found = []
    for size in (1, 8):
        monkeypatch.setattr(second_pass, "UTTERANCES", size)
        again = second_pass.SecondPass(recognizer, phrases)
        found.append(again.candidates(speech, nbests))
    alone, together = found
    assert list(alone) == list(together) == list(speech.lengths)
    assert max(len(found.texts) for found in alone.values()) > 2
    for u, candidates in alone.items():
        assert candidates.texts == together[u].texts
        for judge, log_probs in candidates.log_probs.items():
            # ESPnet's conformer hears a little of a batch's padding.
            assert together[u].log_probs[judge] == pytest.approx(log_probs, rel=1e-3)
        assert together[u].ratio == pytest.approx(candidates.ratio, abs=2e-2)
        best = np.argmax(candidates.log_probs["llm"])
        row = [*candidates.tokens[best], recognizer.llm.eos]
        inputs = torch.tensor([[recognizer.llm.bos, *row[:-1]]])
        with torch.no_grad(), recognizer.llm.autocast():
            logits = recognizer.llm.model(inputs).logits.float()
        without_audio = logits.log_softmax(-1)[0, range(len(row)), row].sum().item()
        gain = candidates.log_probs["ngram"][best] - without_audio
        assert candidates.ratio == pytest.approx(gain / len(row), abs=2e-2)


def test_a_study_goes_on_where_it_stopped(tiny):
    def study(rows):
        command = ["local/studies.sh", "--preset", "tiny", "--rows", rows]
        command += ["--domain", "music", "--seed", "0"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    unknown = study("d_7 d_ten")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("error: --rows: no row 'd_ten'")
    studies = ROOT / "exp/tiny/studies/music"
    for _ in range(2):
        result = study("d_7")
        assert result.returncode == 0, result.stderr[-3000:]
        # As if an LM's row were there, which is decoded otherwise than the others.
        shutil.rmtree(studies / "lstm", ignore_errors=True)
        shutil.copytree(studies / "d_7/decode_plain", studies / "lstm/decode_lm")
    assert "finished already" in result.stderr
    page = (studies / "STUDIES.md").read_text()
    assert re.search(r"^\| lstm +\|", page, re.M)
    # Losses of both stages, their trained parameters, minutes, WER.
    losses, size, score = (
        r"prompt loss \d.*, decoder loss \d.*",
        r"[\d,]+ \+ [\d,]+",
        r"\d+\.\d+",
    )
    assert re.search(rf"^\| d 7 +\| {losses} +\| {size} +\| {score} ", page, re.M)
    assert "--adapt_conf length=7" in page, "the commands are part of the page"


def test_speech_to_tune_on_is_missed_before_any_training(recipe, tiny):
    weights = ROOT / "exp/tiny/music/no_prompt/model.safetensors"
    before = weights.stat().st_mtime_ns
    part = ("--preset", "tiny", "--domains", "music", "--stage", "5")
    result = recipe(*part, "--methods", "no_prompt tts")
    assert result.returncode == 1 and weights.stat().st_mtime_ns == before
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ") and "/music_tts_train/" in last


def test_stages_5_to_7_alone(recipe, tiny):
    exp = ROOT / "exp" / "tiny"
    prompt = (exp / "music" / "prompt" / "model.safetensors").read_bytes()
    tuned = exp / "music" / "soft_prompt" / "model.safetensors"
    text = exp / "music" / "soft_prompt" / "decode_plain" / "music_test" / "text"
    before, made = text.read_text(), (tuned.stat(), text.stat())
    music = ("--preset", "tiny", "--domains", "music", "--stop_stage", "7")
    result = recipe(*music, "--stage", "5", "--methods", "soft_prompt")
    assert result.returncode == 0, result.stderr[-3000:]
    assert (exp / "music" / "prompt" / "model.safetensors").read_bytes() == prompt
    # Made anew; and of the same seed and inputs, the same hypotheses.
    for path, earlier in zip((tuned, text), made, strict=True):
        assert path.stat().st_mtime_ns > earlier.st_mtime_ns
    assert text.read_text() == before
    part = (*music, "--stage", "6", "--resume", "true")
    result = recipe(*part, "--methods", "soft_prompt")
    assert result.returncode == 0, result.stderr[-3000:]
    for folder in ("ngram", "base", "soft_prompt"):
        assert f"finished already: exp/tiny/music/{folder}" in result.stderr
    # Another search: the LMs stay, the decodes do not.
    result = recipe(*part, "--keep_prompt", "true", "--methods", "")
    assert result.returncode == 0, result.stderr[-3000:]
    finished = re.findall(r"finished already: (\S+)", result.stderr)
    assert finished == ["exp/tiny/music/ngram"]

"""The recipe itself, run for real, and what a run leaves for later ones."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from spft.errors import UserError

SYSTEMS = ("base", "no_prompt", "soft_prompt", "noisy_text")


def test_missing_inputs_name_the_stage_to_run(tiny):
    assert tiny.unprepared.returncode == 1
    last = tiny.unprepared.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ") and "--stage 1 --stop_stage 1" in last


def test_tiny_recipe_ends_in_a_scored_comparison(tiny):
    for domain in ("music", "chatbot"):
        for system in SYSTEMS:
            for tag in ("plain", "lm", "second"):
                decode = tiny.exp / domain / system / f"decode_{tag}"
                for name in (f"{domain}_test", "general_test"):
                    folder = decode / name
                    scores = json.loads((folder / "score.json").read_text())
                    assert scores["wer"] is not None
                    assert (folder / "score_wer" / "result.txt").exists()
                    texts = (tiny.data / name / "text", folder / "text")
                    said, heard = (t.read_text().splitlines() for t in texts)
                    assert len(heard) == len(said)
                weights = json.loads((decode / "decode.json").read_text())["weights"]
                assert bool(weights) == (tag != "plain")
    for word in ("music", "chatbot", "WER", "EER", "soft prompt", "no prompt"):
        assert word in tiny.printed
    results = (tiny.exp / "RESULTS.md").read_text()
    for command in ("decode", "second_pass"):
        assert f"spft.bin.{command} " in results, "the exact commands are in the report"
    assert re.search(r"^\| soft_prompt +\| [\d,]+ +\| \d", results, re.M), "training"


@pytest.fixture
def packed(tiny, checkout, monkeypatch, tmp_path):
    """Transcribes two recordings with the pack of stage 9."""
    from spft.bin import transcribe
    from spft.data.table import read_table

    monkeypatch.chdir(checkout.folder)  # the tiny LLM's path is relative
    monkeypatch.setenv("SPFT_CACHE", str(tmp_path))
    audio = dict(list(read_table(tiny.data / "music_test/wav.scp").items())[:2])

    def run(*options):
        command = ["x", "--model", str(tiny.exp / "pack.zip"), *map(str, options)]
        monkeypatch.setattr("sys.argv", [*command, *audio.values()])
        transcribe.main()

    run.audio = audio
    return run


def test_the_pack_transcribes_as_stage_7_did(tiny, packed, capsys):
    from spft.bin.pack import best_system
    from spft.data.table import read_table

    packed("--format", "json", "--nbest", 2, "--domain", "base,music,base")
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    best = best_system(tiny.exp / "music", SYSTEMS)
    decodes = {"base": "base/decode_plain", "music": f"{best}/decode_second"}
    expected = {
        domain: read_table(
            tiny.exp / "music" / decode / "music_test/text", allow_empty=True
        )
        for domain, decode in decodes.items()
    }
    domains = ["base"] * 2 + ["music"] * 2 + ["base"] * 2
    assert [row["domain"] for row in rows] == domains
    for row, utterance in zip(rows, [*packed.audio] * 3, strict=True):
        assert row["text"] == expected[row["domain"]][utterance]
        best, *others = row["segments"][0]["nbest"]
        assert all(best["score"] >= other["score"] for other in others)
    # Back in the first domain, nothing of the second is left.
    assert [r["segments"] for r in rows[:2]] == [r["segments"] for r in rows[4:]]


def test_names_given_to_the_pack(tiny, packed, tmp_path, monkeypatch, capsys):
    from spft.speech2text import Speech2Text

    text = (tiny.data / "music_text/train/text").read_text()
    met = re.search(r"the \w+ \w+", text)[0]  # so that its n-gram knows it
    (tmp_path / "names.txt").write_text(f"The Weeknd\n{met}\n")
    looked_for = []
    recognise = Speech2Text.recognise

    def watched(asr, speech, *rest):
        looked_for.append(asr.phrases)
        return recognise(asr, speech, *rest)

    monkeypatch.setattr(Speech2Text, "recognise", watched)
    packed("--domain", "music,chatbot", "--names", tmp_path / "names.txt")
    assert len(capsys.readouterr().out.splitlines()) == 4 and looked_for
    for phrases in looked_for:
        assert {"the weeknd", met} <= set(phrases.phrases)
    assert looked_for[0].new == {"the weeknd"}  # what no LM of music has met
    asr = Speech2Text.from_pretrained(tiny.exp / "pack.zip", domain="music")
    asr.add_names(["The Weeknd"])
    asr.use("music")
    assert "the weeknd" not in asr.phrases.phrases
    with pytest.raises(UserError, match="'base' has no second pass"):
        packed("--domain", "base", "--names", tmp_path / "names.txt")


def test_a_domain_that_cannot_be_loaded_leaves_the_one_in_use(tiny, packed, tmp_path):
    from spft.speech2text import Speech2Text

    audio = next(iter(packed.audio.values()))
    asr = Speech2Text.from_pretrained(tiny.exp / "pack.zip", domain="base")
    before = asr(audio)
    asr.pack.domains["music"].external["lm"] = tmp_path
    with pytest.raises(UserError, match="no language model here"):
        asr.use("music")
    assert asr.domain == "base" and asr(audio) == before
    chatbot, damaged = asr.pack.domains["chatbot"], tmp_path / "damaged"
    shutil.copytree(chatbot.model, damaged)
    (damaged / "model.safetensors").write_bytes(b"half a file")
    asr.pack.domains["chatbot"] = replace(chatbot, model=damaged)
    with pytest.raises(UserError, match="not a whole safetensors file"):
        asr.use("chatbot")
    assert asr.domain == "base" and asr(audio) == before
    with pytest.raises(UserError, match="keep_prompt: each domain has its own"):
        Speech2Text(asr.pack, keep_prompt=True)


def test_the_second_pass_judges_each_utterance_alone(tiny, checkout, monkeypatch):
    from spft.data.speech import find_speech
    from spft.data.table import read_table
    from spft.recognizer import Recognizer
    from spft.search import second_pass
    from spft.search.config import DecodeConfig
    from spft.search.hypothesis import Hypothesis
    from spft.search.phrases import Phrases

    monkeypatch.chdir(checkout.folder)  # the tiny LLM's path is relative
    config = DecodeConfig.read("conf/decode.yaml")
    ngram = {"ngram": tiny.exp / "music/ngram"}
    recognizer = Recognizer(tiny.exp / "baseline", config, ngram)
    speech = find_speech(tiny.data / "music_dev", checkout.folder / "dump/tiny")
    # What was said, as no search told it: all is judged anew.
    said = read_table(tiny.data / "music_dev/text")
    encode = recognizer.llm.encode
    nbests = {u: [Hypothesis(encode(text), 0.0, {}, True)] for u, text in said.items()}
    phrases = Phrases.of(tiny.data / "music_text/train")
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


def test_a_study_goes_on_where_it_stopped(tiny, checkout):
    def study(rows):
        options = ("--preset", "tiny", "--domain", "music", "--seed", "0")
        return checkout.run("local/studies.sh", *options, "--rows", rows)

    unknown = study("d_7 d_ten")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("error: --rows: no row 'd_ten'")
    studies = tiny.exp / "studies/music"
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
    weights = tiny.exp / "music/no_prompt/model.safetensors"
    before = weights.stat().st_mtime_ns
    part = ("--preset", "tiny", "--domains", "music", "--stage", "5")
    result = recipe(*part, "--methods", "no_prompt tts")
    assert result.returncode == 1 and weights.stat().st_mtime_ns == before
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ") and "/music_tts_train/" in last


def test_test_sentences_in_edited_text_are_found_before_any_training(recipe, tiny):
    text, test = (tiny.data / f"music_{name}/text" for name in ("text/train", "test"))
    before = text.read_text()
    sentence = test.read_text().splitlines()[0].split(maxsplit=1)[1]
    text.write_text(before + f"zz-leak {sentence}\n")
    result = recipe("--preset", "tiny", "--domains", "music", "--stage", "4")
    text.write_text(before)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert "holds the evaluation sentence" in last and sentence in last


def test_stages_5_to_7_alone(recipe, tiny):
    music_exp = tiny.exp / "music"
    prompt = (music_exp / "prompt/model.safetensors").read_bytes()
    tuned = music_exp / "soft_prompt/model.safetensors"
    text = music_exp / "soft_prompt/decode_plain/music_test/text"
    before, made = text.read_text(), (tuned.stat(), text.stat())
    music = ("--preset", "tiny", "--domains", "music", "--stop_stage", "7")
    result = recipe(*music, "--stage", "5", "--methods", "soft_prompt")
    assert result.returncode == 0, result.stderr[-3000:]
    assert (music_exp / "prompt/model.safetensors").read_bytes() == prompt
    # Made anew; and of the same seed and inputs, the same hypotheses.
    for path, earlier in zip((tuned, text), made, strict=True):
        assert path.stat().st_mtime_ns > earlier.st_mtime_ns
    assert text.read_text() == before
    part = (*music, "--stage", "6", "--resume", "true", "--methods", "soft_prompt")
    result = recipe(*part)
    assert result.returncode == 0, result.stderr[-3000:]
    for folder in ("ngram", "base", "soft_prompt"):
        assert f"finished already: exp/tiny/music/{folder}" in result.stderr


def test_a_method_is_added_later(recipe, tiny):
    made = [*tiny.exp.glob("*/model.safetensors")]
    made += tiny.exp.glob("music/*/model.safetensors")
    before = {path: path.stat().st_mtime_ns for path in made}
    assert len(before) >= 5
    more = ("empty_prompt", "upsample_mask")
    result = recipe("--preset", "tiny", "--domains", "music", "--stage", "3",
                    "--stop_stage", "7", "--resume", "true", "--fusion", "false",
                    "--methods", " ".join([*SYSTEMS[1:], *more]))  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    assert {path: path.stat().st_mtime_ns for path in made} == before
    for method in more:
        scores = tiny.exp / "music" / method / "decode_plain/music_test/score.json"
        assert json.loads(scores.read_text())["wer"] is not None


def test_systems_are_decoded_alike_one_a_job(recipe, tiny):
    systems = ("base", "no_prompt")
    texts = [tiny.exp / f"music/{s}/decode_plain/music_test/text" for s in systems]
    before = [(path.read_text(), path.stat().st_mtime_ns) for path in texts]
    result = recipe("--preset", "tiny", "--domains", "music", "--stage", "7",
                    "--stop_stage", "7", "--methods", "no_prompt", "--shards", "2",
                    "--fusion", "false")  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    for path, (text, made) in zip(texts, before, strict=True):
        assert path.read_text() == text and path.stat().st_mtime_ns > made


def test_a_prompt_of_another_length_that_stays(recipe, tiny):
    part = ("--preset", "tiny", "--domains", "music", "--stop_stage", "7",
            "--methods", "soft_prompt", "--prompt_vectors", "5")  # fmt: skip
    refused = recipe(*part, "--stage", "5")
    assert refused.returncode == 1
    assert "exp/tiny/music/prompt has 4; begin at --stage 4" in refused.stderr
    result = recipe(*part, "--stage", "4", "--max_epoch", "1", "--fusion", "false",
                    "--keep_prompt", "true")  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    soft = tiny.exp / "music/soft_prompt"
    assert load_file(soft / "model.safetensors")["adapt.embeds"].shape[0] == 5
    log = (soft / "train.log").read_text()
    assert "1epoch results" in log and "2epoch results" not in log
    assert (soft / "decode_plain/music_test/score.json").exists()
    decode = json.loads((soft / "decode_plain/decode.json").read_text())
    assert decode["config"]["keep_prompt"]
    assert not (soft / "decode_second/decode.json").exists()

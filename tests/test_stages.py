"""The stages trained for real, at tiny size, through their command."""

import json
import re
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from spft.checkpoint import load_model
from spft.errors import UserError
from spft.recognizer import Recognizer
from spft.search.config import DecodeConfig

ROOT = Path(__file__).parents[1]
PRESET = ROOT / "conf" / "presets" / "tiny"


def changed(before, after):
    return {
        name
        for name in after
        if name not in before or not torch.equal(before[name], after[name])
    }


def test_step_1_moves_only_the_prompt(stages):
    baseline = load_file(stages / "baseline" / "model.safetensors")
    prompt = load_file(stages / "prompt" / "model.safetensors")
    assert baseline.keys() <= prompt.keys()
    assert changed(baseline, prompt) == {"adapt.embeds"}


def test_step_1_learns(stages):
    log = (stages / "prompt" / "train.log").read_text()
    losses = [float(x) for x in re.findall(r"\[valid\] loss=([0-9.]+)", log)]
    assert len(losses) == 2 and losses[1] < losses[0]


def test_step_1_by_another_optimiser_through_an_mlp(train, stages, tiny_data, tmp_path):
    result = train(PRESET / "prompt.yaml", tiny_data / "text", tmp_path / "prompt",
                   "--init", stages / "baseline", "--", "--optim", "adafactor",
                   "--optim_conf", "lr=0.3", "--adapt_conf", "hidden_size=8",
                   "--max_epoch", "1")  # fmt: skip
    assert result.returncode == 0, result.stderr
    baseline = load_file(stages / "baseline" / "model.safetensors")
    prompt = load_file(tmp_path / "prompt" / "model.safetensors")
    moved = changed(baseline, prompt)
    assert moved == {"adapt.embeds"} | {
        f"adapt.mlp.{i}.{part}" for i in (0, 2) for part in ("weight", "bias")
    }
    assert prompt["adapt.mlp.2.weight"].any(), "the MLP has learnt nothing"
    model = load_model(tmp_path / "prompt")
    embeds = model.adapt.prefix().embeds[0]
    assert not torch.equal(embeds, model.adapt.embeds)


def test_a_prompt_may_start_as_audio(command, train, stages, tiny_data, tmp_path):
    from spft.data.speech import find_speech

    done = command("audio_prompt", "--length", 4, "--model", stages / "baseline",
                   "--data", tiny_data / "paired", "--dump", "none",
                   "--out", tmp_path / "start")  # fmt: skip
    assert done.returncode == 0, done.stderr
    start = load_file(tmp_path / "start" / "model.safetensors")["adapt.embeds"]
    recognizer = Recognizer(stages / "baseline", DecodeConfig(), {})
    speech = find_speech(tiny_data / "paired", Path("none"))
    prefixes = recognizer.prefixes(speech, sorted(speech.lengths))
    audio = torch.cat([prefix.embeds[0] for prefix in prefixes])
    # Four draws: within a few standard errors of the mean, dimension by dimension.
    errors = (start.mean(0) - audio.mean(0)) / (audio.std(0) / 2)
    assert errors.abs().max() < 5 and start.std(0).mean() > 0
    result = train(PRESET / "prompt.yaml", tiny_data / "text", tmp_path / "prompt",
                   "--init", tmp_path / "start", "--", "--max_epoch", "1",
                   "--optim_conf", "lr=0.0")  # fmt: skip
    assert result.returncode == 0, result.stderr
    prompt = load_file(tmp_path / "prompt" / "model.safetensors")["adapt.embeds"]
    torch.testing.assert_close(prompt, start)


def test_figures_of_a_training(stages):
    found = json.loads((stages / "prompt" / "training.json").read_text())
    prompt = load_file(stages / "prompt" / "model.safetensors")["adapt.embeds"]
    assert found["parameters"] == prompt.numel()
    assert found["epochs"] == 2 and found["utterances"] == 16 and found["seconds"] > 0
    log = (stages / "prompt" / "train.log").read_text()
    losses = [float(x) for x in re.findall(r"\[valid\] loss=([0-9.]+)", log)]
    assert found["criterion"] == "valid loss"
    assert found["best"] == pytest.approx(min(losses), abs=1e-3)


def test_a_wrong_option_leaves_the_finished_stage(train, stages, tiny_data, tmp_path):
    shutil.copytree(stages / "prompt", tmp_path / "prompt")
    before = (tmp_path / "prompt" / "model.safetensors").read_bytes()
    for config, init in (("typo.yaml", "baseline"), ("prompt.yaml", "typo")):
        result = train(PRESET / config, tiny_data / "text", tmp_path / "prompt",
                       "--init", stages / init)  # fmt: skip
        assert result.returncode == 1 and "typo" in result.stderr
        assert (tmp_path / "prompt" / "model.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["prompt"]
    result = train(PRESET / "prompt.yaml", tiny_data / "text", tmp_path / "prompt",
                   "--init", tmp_path / "prompt")  # fmt: skip
    assert "is also in --init" in result.stderr


def test_a_stage_that_learns_nothing(train, stages, tiny_data, tmp_path):
    broken = shutil.copytree(stages / "baseline", tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    name = next(name for name in weights if "lora_A" in name)
    weights[name].fill_(torch.nan)
    save_file(weights, broken / "model.safetensors")
    given = (PRESET / "decoder.yaml", tiny_data / "text", tmp_path / "plain", "--init")
    result = train(*given, broken, "--", "--adapt", "no_prompt")
    assert result.returncode == 1 and "no step was taken" in result.stderr
    diverged = train(*given, stages / "baseline", "--", "--adapt", "no_prompt",
                     "--optim_conf", "lr=1e30")  # fmt: skip
    assert diverged.returncode == 1 and "it diverged" in diverged.stderr
    # With what was wrong mended, it is trained as if it had not been.
    again = train(*given, stages / "baseline", "--", "--adapt", "no_prompt")
    assert again.returncode == 0, again.stderr
    assert "passed over" not in again.stderr


def test_how_the_llm_is_computed_may_change(train, stages, tiny_data, tmp_path):
    for name, value, status in (("dtype", "float32", 0), ("name", "other", 1)):
        conf = yaml.safe_load((PRESET / "prompt.yaml").read_text())
        conf["llm_conf"] = {name: value}
        path = tmp_path / "prompt.yaml"
        path.write_text(yaml.safe_dump(conf))
        result = train(path, tiny_data / "text", tmp_path / "prompt",
                       "--init", stages / "baseline")  # fmt: skip
        assert result.returncode == status, result.stderr
    assert "leave llm_conf out" in result.stderr


def test_an_interrupted_training_goes_on_as_it_was(
    train, stages, tiny_data, tmp_path, monkeypatch
):
    given = (PRESET / "prompt.yaml", tiny_data / "text", tmp_path / "prompt",
             "--init", stages / "baseline")  # fmt: skip

    def interrupt(out):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("spft.train.result.finish", interrupt)
        assert train(*given).returncode
    assert (tmp_path / "prompt" / "checkpoint.pth").exists()
    result = train(*given, "--seed", "1", "--", "--max_epoch", "3")
    assert "differs from this in seed (0 there, 1 here), espnet (" in result.stderr
    half = tmp_path / "half"
    shutil.copytree(tmp_path / "prompt", half, symlinks=True)
    # As if it had ended after the checkpoint and before the weights of the last epoch.
    for path in (tmp_path / "prompt").glob("*.pth"):
        if path.name != "checkpoint.pth":
            path.unlink()
    result = train(*given)
    assert result.returncode == 0, result.stderr
    # And in the middle of the checkpoint, by a signal: a whole zip that lacks a part.
    with (
        zipfile.ZipFile(half / "checkpoint.pth") as whole,
        zipfile.ZipFile(tmp_path / "part.pth", "w") as part,
    ):
        last = [name for name in whole.namelist() if "/data/" in name][-1]
        for name in set(whole.namelist()) - {last}:
            part.writestr(name, whole.read(name))
    (tmp_path / "part.pth").rename(half / "checkpoint.pth")
    result = train(*given[:2], half, *given[3:])
    assert result.returncode == 0, result.stderr
    made = [load_file(f / "model.safetensors") for f in (half, tmp_path / "prompt")]
    assert not changed(*made)
    device = ("--ngpu", "0", "--llm_conf", "cuda_graphs=false")  # whatever it is
    result = train(*given, "--resume", "--", *device)
    assert result.returncode == 0 and "trained" not in result.stderr, result.stderr
    result = train(*given, "--resume", "--", "--max_epoch", "3")
    assert "differs from this in espnet (" in result.stderr and result.returncode == 1
    (tmp_path / "prompt/settings.json").unlink()  # as the shipped baseline has none
    result = train(*given, "--resume")
    assert "prompt: trained elsewhere" in result.stderr and result.returncode == 1
    went_on = load_file(tmp_path / "prompt" / "model.safetensors")
    assert not changed(load_file(stages / "prompt" / "model.safetensors"), went_on)


def test_a_finished_stage_comes_back_when_its_successor_is_not_begun(tmp_path):
    from spft.train.result import replaced

    out = tmp_path / "out"
    out.mkdir()
    (out / "model.safetensors").write_text("old")
    with pytest.raises(SystemExit), replaced(out):
        out.mkdir()
        raise SystemExit
    assert (out / "model.safetensors").read_text() == "old"
    out.rename(tmp_path / "out.old")  # killed: nothing could bring it back
    out.mkdir()
    with pytest.raises(UserError), replaced(out):
        raise UserError("wrong option")
    assert (out / "model.safetensors").read_text() == "old"
    with replaced(out):
        out.mkdir()
    assert not list(tmp_path.glob("*/*")) and not (tmp_path / "out.old").exists()


def test_a_prompt_of_another_length(train, stages, tiny_data, tmp_path):
    length = load_file(stages / "prompt" / "model.safetensors")["adapt.embeds"].shape[0]
    result = train(PRESET / "prompt.yaml", tiny_data / "text", tmp_path / "prompt",
                   "--init", stages / "prompt", "--",
                   "--adapt_conf", f"length={length + 1}")  # fmt: skip
    assert f"adapt.embeds has shape [{length}, " in result.stderr
    assert f"here [{length + 1}, " in result.stderr and result.returncode == 1


def test_step_2_moves_only_the_decoder(stages):
    prompt = load_file(stages / "prompt" / "model.safetensors")
    soft = load_file(stages / "soft" / "model.safetensors")
    moved = changed(prompt, soft)
    assert moved and all("lora_" in name for name in moved)
    assert prompt.keys() == soft.keys()


def test_a_prompt_after_tuning_the_llm_and_its_lora(train, stages, tiny_data, tmp_path):
    text, weights = tiny_data / "text", {}
    for name, config, options in (
        ("whole", "decoder.yaml", ["--trainable", "^llm\\.", "--adapt", "no_prompt"]),
        ("prompt", "prompt.yaml", []),
    ):
        init = {"whole": stages / "baseline", "prompt": tmp_path / "whole"}[name]
        result = train(PRESET / config, text, tmp_path / name, "--init", init,
                       "--", *options)  # fmt: skip
        assert result.returncode == 0, result.stderr
        weights[name] = load_file(tmp_path / name / "model.safetensors")
    assert any(".base_layer." in key for key in weights["whole"])
    moved = changed(weights["whole"], weights["prompt"])
    assert {key.partition(".")[0] for key in moved} == {"adapt"}


def test_plain_tuning_has_no_prompt(stages):
    baseline = load_file(stages / "baseline" / "model.safetensors")
    plain = load_file(stages / "plain" / "model.safetensors")
    moved = changed(baseline, plain)
    assert moved and all("lora_" in name for name in moved)
    assert "adapt.embeds" not in plain


def test_half_the_way(train, stages, tiny_data, tmp_path):
    result = train(PRESET / "decoder.yaml", tiny_data / "text", tmp_path / "half",
                   "--init", stages / "baseline", "--",
                   *("--adapt", "no_prompt", "--strength", "0.5"))  # fmt: skip
    assert result.returncode == 0, result.stderr
    start, half, whole = (
        load_file(folder / "model.safetensors")
        for folder in (stages / "baseline", tmp_path / "half", stages / "plain")
    )
    moved = changed(start, whole)
    assert moved and changed(start, half) == moved
    load_model(tmp_path / "half")
    for name in moved:
        torch.testing.assert_close(half[name], (start[name] + whole[name]) / 2)


def test_only_trained_tensors_are_saved(stages):
    saved = load_file(stages / "baseline" / "model.safetensors")
    assert not any(name.startswith("llm.") and "lora_" not in name for name in saved), (
        "weights of the pretrained LLM were saved"
    )


def test_keeping_the_prompt_changes_what_the_decoder_sees(stages, tiny_data):
    from spft.data.speech import find_speech

    speech = find_speech(tiny_data / "paired", Path("none"))
    waves = [speech.load(u) for u in speech.lengths]

    def prefix(system, keep_prompt):
        config = DecodeConfig(beam=2, keep_prompt=keep_prompt)
        recognizer = Recognizer(stages / system, config, {})
        return recognizer.prefix(*recognizer.encode(waves))

    audio, limits = prefix("soft", False)
    for system, prompt in (("soft", 4), ("plain", 0)):
        kept, kept_limits = prefix(system, True)
        assert (kept.lengths - audio.lengths).tolist() == [prompt] * len(waves)
        assert kept_limits == limits  # they depend on the audio alone


def test_checkpoint_of_another_configuration(
    train, stages, tiny_data, model_yaml, tmp_path
):
    keys = yaml.safe_load(model_yaml.read_text())
    keys["projector_conf"]["hidden_size"] = 32
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(keys))
    result = train(PRESET / "prompt.yaml", tiny_data / "text", tmp_path / "out",
                   "--model", other, "--init", stages / "baseline")  # fmt: skip
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ") and "projector_conf" in last


def test_incomplete_checkpoint_is_refused(stages, tmp_path):
    folder = tmp_path / "cut"
    shutil.copytree(stages / "soft", folder)
    state = load_file(folder / "model.safetensors")
    del state["projector.letters.weight"]
    save_file(state, folder / "model.safetensors")
    with pytest.raises(UserError, match="projector.letters.weight"):
        load_model(folder)
    (folder / "model.safetensors").write_bytes(b"half a file")
    with pytest.raises(UserError, match="not a whole safetensors file"):
        load_model(folder)


def test_keys_that_do_not_work(train, tiny_data, model_yaml, tmp_path):
    for key, value, word in (
        ("adapt_conf", {"d_model": 1}, "adapt_conf: .*d_model"),
        ("adapt_conf", {"length": "four"}, "adapt_conf: length: 'four' makes no sense"),
        ("use_deepspeed", True, "use sharded_ddp"),
        ("sharded_ddp", True, "add --launcher"),
        ("ngpu", 2, "add --launcher"),
        ("strength", 0.5, "adapt.* is trained and in no --init"),
        ("strength", 75, "at most 1, not 75"),
    ):
        config = tmp_path / "bad.yaml"
        keys = yaml.safe_load((PRESET / "prompt.yaml").read_text())
        keys[key] = value
        config.write_text(yaml.safe_dump(keys))
        result = train(
            config, tiny_data / "text", tmp_path / "out", "--model", model_yaml
        )
        assert result.returncode != 0
        assert re.search(word, result.stderr.strip().splitlines()[-1])


def test_a_long_text_is_read_in_parts(train, stages, tiny_data, tmp_path):
    """Each sentence once an epoch, whatever the size of the parts."""
    options = ("--init", stages / "baseline", "--", "--max_epoch", "1")
    steps = {}
    for size in (1000, 7):
        out = tmp_path / str(size)
        result = train(PRESET / "prompt.yaml", tiny_data / "text", out,
                       "--part_size", size, *options)  # fmt: skip
        assert result.returncode == 0, result.stderr
        steps[size] = (out / "train.log").read_text().count("Building")
    sentences = len((tiny_data / "text" / "text").read_text().splitlines())
    assert steps == {1000: 0, 7: -(-sentences // 7)}
    assert not (out / "parts").exists()


@pytest.mark.parametrize(
    "name, data, options",
    [
        ("noisy_text", "text", ["--adapt", "noisy_text"]),
        ("tts", "paired", []),
        ("pre_fine_tune", "paired", []),
    ],
)
def test_other_ways_to_adapt(train, stages, tiny_data, tmp_path, name, data, options):
    out = tmp_path / "exp"
    result = train(ROOT / "conf" / f"{name}.yaml", tiny_data / data, out, "--init",
                   stages / "baseline", "--", "--max_epoch", "1", *options)  # fmt: skip
    assert result.returncode == 0, result.stderr
    baseline = load_file(stages / "baseline" / "model.safetensors")
    moved = changed(baseline, load_file(out / "model.safetensors"))
    assert moved and all("lora_" in tensor for tensor in moved)


def test_what_begins_at_random_is_to_be_trained(train, tiny_data, model_yaml, tmp_path):
    baseline = yaml.safe_load((PRESET / "baseline.yaml").read_text())
    config, out = tmp_path / "frozen.yaml", tmp_path / "exp"

    def run(trainable):
        config.write_text(yaml.safe_dump(baseline | {"trainable": trainable}))
        return train(config, tiny_data / "paired", out, "--model", model_yaml, "--",
                     "--max_epoch", "1")  # fmt: skip

    result = run(["lora_"])
    assert result.returncode == 1 and not (out / "model.safetensors").exists()
    assert "trainable: nothing matches" in result.stderr.splitlines()[-1]
    # A frozen LLM's LoRA is kept for the stages to come.
    result = run(["^encoder", "^projector"])
    assert result.returncode == 0, result.stderr
    lora = {
        n: w for n, w in load_file(out / "model.safetensors").items() if "lora_B" in n
    }
    assert lora and not any(weight.any() for weight in lora.values())
    load_model(out)

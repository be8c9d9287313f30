"""What a training refuses to read."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from spft.bin import check_config
from spft.bin.train import check_16khz_mono, write_lengths
from spft.errors import UserError
from spft.train.config import check_criterion, check_stage, figure_names

PRESET = Path(__file__).parents[1] / "conf" / "presets" / "tiny"


@pytest.mark.parametrize(("rate", "channels"), [(44100, 1), (16000, 2)])
def test_audio_that_training_would_misread(tmp_path, rate, channels):
    table = tmp_path / "wav.scp"
    table.write_text(f"a {tmp_path}/a.wav\n")
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 16000)
    check_16khz_mono(table)
    soundfile.write(tmp_path / "a.wav", np.zeros((100, channels)), rate)
    with pytest.raises(UserError, match="wav.scp:1.* training reads 16000 Hz"):
        check_16khz_mono(table)


def test_ids_end_at_any_white_space(tmp_path):
    (tmp_path / "text").write_text("a\tplay abba \nb  stop\n")
    assert write_lengths(tmp_path / "text", None, tmp_path / "lengths") == 2
    assert (tmp_path / "lengths").read_text() == "a 9\nb 4\n"


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("learning_rate", 1, "unknown keys .'learning_rate'"),
        ("optim", "adamx", "optim: 'adamx' is none of .*adamw"),
        ("seed", 7, "seed: not read"),
        ("train_shape_file", "x", "train_shape_file: not read"),
        ("optim_conf", {"leaning_rate": 1}, "optim_conf: AdamW: .*leaning_rate"),
        ("optim_conf", {"lr": "fast"}, "optim_conf: lr: 'fast' makes no sense"),
        ("scheduler_conf", {"warmup": 1}, "scheduler_conf: WarmupLR: .*warmup"),
        ("max_epoch", "two", "max_epoch: 'two' makes no sense"),
        ("batch_size", 0, "batch_size: 0 is less than 1"),
        ("trainable", None, "no trainable; such a file takes the place"),
    ],
)
def test_configurations_that_cannot_be_trained(key, value, fault):
    from spft.train.task import SpeechLLMTask

    parser = SpeechLLMTask.get_parser()
    stage = yaml.safe_load((PRESET / "prompt.yaml").read_text())
    stage |= {"optim": "AdamW", "log_level": "DEBUG", "num_workers": 2}
    check_stage(stage, parser, "good.yaml")
    bad = {k: v for k, v in (stage | {key: value}).items() if v is not None}
    with pytest.raises(UserError, match=f"bad.yaml: {fault}"):
        check_stage(bad, parser, "bad.yaml")


def test_figures_to_choose_an_epoch_by():
    audio, model = "a SpeechSource", {"projector": "ctc"}
    for speech, stage, row, there in (
        ((audio, audio), {}, ["valid", "cer", "min"], True),
        ((audio, audio), {}, ["train", "cer", "min"], False),
        ((audio, audio), {}, ["train", "loss_ctc", "min"], True),
        ((audio, None), {}, ["valid", "loss_llm", "min"], False),
        ((audio, audio), {"projector": "stack"}, ["valid", "loss_ctc", "min"], False),
        ((audio, audio), {"model_conf": {"llm_weight": 0}},
         ["valid", "loss_llm", "min"], False),
        ((None, None), {}, ["valid", "loss", "min"], True),
        ((None, None), {}, ["valid", "loss", "least"], False),
        ((None, None), {}, "valid", False),
    ):  # fmt: skip
        stage = {**model, **stage, "best_model_criterion": [row]}
        known = figure_names(
            stage, dict(zip(("train", "valid"), speech, strict=True)), []
        )
        if there:
            check_criterion(stage, known, "x.yaml")
            continue
        with pytest.raises(UserError, match="x.yaml: .* does not begin with one of"):
            check_criterion(stage, known, "x.yaml")


def test_missing_data_names_the_stage(train, tmp_path):
    result = train(PRESET / "prompt.yaml", tmp_path / "no", tmp_path / "out")
    assert result.returncode == 1
    assert "run stage 1 first" in result.stderr


def test_configurations_are_checked_before_anything_is_trained(tmp_path, monkeypatch):
    conf = PRESET.parents[1]
    stages = [*conf.glob("*.yaml"), *PRESET.glob("*.yaml")]
    others = {"lm.yaml", "decode.yaml", "model.yaml"}
    words = ["--stages", *(path for path in stages if path.name not in others)]
    words += ["--lm", *conf.glob("lm.yaml"), *conf.glob("tuning/lm_*.yaml")]
    words += ["--decode", conf / "decode.yaml", PRESET / "decode.yaml"]
    monkeypatch.setattr("sys.argv", ["check_config", *map(str, words)])
    check_config.main()
    bad = tmp_path / "bad.yaml"
    bad.write_text("max_epochs: 3\n")
    for option in ("--lm", "--decode", "--stages"):
        monkeypatch.setattr("sys.argv", ["check_config", option, str(bad)])
        with pytest.raises(UserError, match="bad.yaml: (unknown keys|no trainable)"):
            check_config.main()
    lms = {"lm: transformer_opt": "lm: transformer_opt cannot be fused"}
    lms["best_model_criterion: [[train, loss, min]]"] = "lacks .'valid', 'loss'"
    for line, words in lms.items():
        bad.write_text(f"{line}\n")
        monkeypatch.setattr("sys.argv", ["check_config", "--lm", str(bad)])
        with pytest.raises(UserError, match=f"bad.yaml: .*{words}"):
            check_config.main()
    prompt = yaml.safe_load((conf / "prompt.yaml").read_text())
    for wrong, words in (({}, "argument: 'length'"), ({"lenght": 9}, "'lenght'")):
        bad.write_text(yaml.safe_dump(prompt | {"adapt_conf": wrong}))
        monkeypatch.setattr("sys.argv", ["check_config", "--stages", str(bad)])
        with pytest.raises(UserError, match=f"bad.yaml: adapt_conf: .*{words}"):
            check_config.main()

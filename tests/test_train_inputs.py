"""What a training refuses to read."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from spft.bin.train import (
    check_16khz_mono,
    check_criterion,
    check_keys,
    figures,
    write_lengths,
)
from spft.errors import UserError

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
    ],
)
def test_keys_that_nothing_reads(key, value, fault):
    from spft.task import SpeechLLMTask

    parser = SpeechLLMTask.get_parser()
    check_keys({"optim": "AdamW", "log_level": "DEBUG", "num_workers": 2}, parser, "x")
    with pytest.raises(UserError, match=f"bad.yaml: {fault}"):
        check_keys({key: value}, parser, "bad.yaml")


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
        known = figures(stage, dict(zip(("train", "valid"), speech, strict=True)), [])
        if there:
            check_criterion(stage, known, "x.yaml")
            continue
        with pytest.raises(UserError, match="x.yaml: .* does not begin with one of"):
            check_criterion(stage, known, "x.yaml")


def test_missing_data_names_the_stage(train, tmp_path):
    result = train(PRESET / "prompt.yaml", tmp_path / "no", tmp_path / "out")
    assert result.returncode == 1
    assert "run stage 1 first" in result.stderr

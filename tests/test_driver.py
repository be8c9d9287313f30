"""The driver alone: its options, complaints and locks."""

import fcntl
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHECKS = (ROOT / "local/check.sh").read_text()


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


def test_names_that_no_domain_may_have():
    from spft.bin.new_domain import RESERVED

    (names,) = re.findall(r'^ *reserved="(.*)"$', CHECKS, re.M)
    assert {*names.split(), "librispeech"} == RESERVED


def test_every_method_has_a_row_in_the_report():
    from spft.scoring.collect import SYSTEMS as ROWS

    (known,) = re.findall(r'^ *known="(.*)"$', CHECKS, re.M)
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
        (
            ["--keep_prompt", "true", "--stop_stage", "8", "--methods", "no_prompt"],
            ["--keep_prompt true", "add soft_prompt"],
        ),
        (["--prompt_vectors", "5", "--methods", "tts"], ["add soft_prompt"]),
        (["--resume", "yes"], ["--resume", "one of true, false"]),
        (["--domains", "unheard"], ["egs2/unheard"]),
    ],
)
def test_bad_options_end_in_one_line(recipe, options, words):
    result = recipe(*options)
    assert result.returncode == 1
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ")
    assert all(word in lines[0] for word in words)


def test_a_domain_s_recipe_is_of_that_domain(checkout):
    command = ["egs2/chatbot/asr1/run.sh", "--domains", "music chatbot"]
    result = subprocess.run(
        command, cwd=checkout.folder, text=True, capture_output=True
    )
    assert result.returncode == 1
    assert "this recipe is of chatbot alone" in result.stderr


def test_a_file_that_a_preset_does_not_have(recipe, checkout):
    preset = checkout.folder / "conf/presets/mine"
    preset.mkdir()
    (preset / "noisy-text.yaml").touch()
    result = recipe("--preset", "mine")
    shutil.rmtree(preset)
    assert result.returncode == 1
    assert "presets/mine/noisy-text.yaml is not read" in result.stderr


def test_which_file_a_method_is_tuned_by(checkout):
    folder = checkout.folder
    own, preset = folder / "egs2/chatbot/asr1/conf", folder / "conf/presets/mine"
    preset.mkdir()

    def found(method):
        script = f'preset=mine; . local/helpers.sh; conf_of "{method}" chatbot'
        command = ["bash", "-euc", script]
        done = subprocess.run(command, cwd=folder, text=True, capture_output=True)
        return done.stdout.strip()

    assert found("soft_prompt") == "conf/decoder.yaml"
    assert found("noisy_text") == "conf/noisy_text.yaml"
    (preset / "decoder.yaml").touch()
    assert (
        found("soft_prompt") == found("no_prompt") == "conf/presets/mine/decoder.yaml"
    )
    (own / "soft_prompt.yaml").touch()
    assert found("soft_prompt") == "egs2/chatbot/asr1/conf/soft_prompt.yaml"
    assert found("no_prompt") == "conf/presets/mine/decoder.yaml"
    shutil.rmtree(preset)
    (own / "soft_prompt.yaml").unlink()


def test_a_prompt_that_no_pack_keeps(recipe, checkout):
    own = checkout.folder / "egs2/chatbot/asr1/conf/decode.yaml"
    default = (checkout.folder / "conf/decode.yaml").read_text()
    own.write_text(default.replace("keep_prompt: false", "keep_prompt: true"))
    result = recipe("--domains", "chatbot", "--expdir", "exp/kept")
    own.unlink()
    assert result.returncode == 1
    assert "decode.yaml: keep_prompt: packs decode without it" in result.stderr


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


def test_data_are_read_by_several_and_written_by_one(recipe, checkout, tmp_path):
    read, write = (
        ("--expdir", str(tmp_path), "--stage", str(stage), "--stop_stage", "3")
        for stage in (3, 1)
    )
    (checkout.folder / "data").mkdir(exist_ok=True)
    for mode, status in ((fcntl.LOCK_SH, 0), (fcntl.LOCK_EX, 1)):
        with open(checkout.folder / "data/.lock", "w") as held:
            fcntl.flock(held, mode)
            assert recipe(*read).returncode == status
            result = recipe(*write)
            assert result.returncode == 1
            assert "is at work in data; wait for it, or begin" in result.stderr

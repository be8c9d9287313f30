"""A tiny LLM, data set, stages and run, made once for all tests."""

import functools
import importlib
import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
import torch
import yaml

from spft import errors

torch.set_num_threads(1)
ROOT = Path(__file__).parents[1]
PRESET = ROOT / "conf" / "presets" / "tiny"
# They look at one run of ``run.sh``.
RECIPE = ("test_recipe.py", "test_pages.py")

SENTENCES = [
    "play the blue song again",
    "who wrote this old tune",
    "add it to my morning list",
    "turn the music down a little",
    "what is the next track",
    "find me some quiet jazz",
    "skip this one please",
    "i want to hear the whole album",
]


def pytest_collection_modifyitems(items):
    """First what takes longest, for each of the two processes."""
    longest = [*RECIPE, "test_own_domain.py"]
    items.sort(key=lambda item: item.path.name not in longest)


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config, log):
    """Each file in one process, those of the recipe's run in the same."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            return "recipe" if Path(file).name in RECIPE else file

    return ByFile(config, log)


@pytest.fixture(scope="session")
def texts():
    return SENTENCES


@pytest.fixture(scope="session")
def tiny_llm(tmp_path_factory):
    """Folder of a random LLaMA with a SentencePiece tokenizer."""
    from spft.bin import make_tiny_llm

    folder = tmp_path_factory.mktemp("llm")
    table = folder / "text"
    table.write_text("".join(f"u{i} {s}\n" for i, s in enumerate(SENTENCES)))
    parser = make_tiny_llm.get_parser()
    args = ["--text", str(table), "--out", str(folder / "model"), "--vocab", "80"]
    make_tiny_llm.make(parser.parse_args(args))
    return folder / "model"


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
    """A paired and a text-only Kaldi directory of eight utterances each."""
    root = tmp_path_factory.mktemp("data")
    paired, text = root / "paired", root / "text"
    paired.mkdir()
    text.mkdir()
    rng = np.random.default_rng(0)
    names = [f"spk-{i}" for i in range(len(SENTENCES))]
    for folder in (paired, text):
        lines = [f"{n} {s}\n" for n, s in zip(names, SENTENCES, strict=True)]
        (folder / "text").write_text("".join(lines))
    for i, name in enumerate(names):
        noise = rng.normal(0, 0.1, 16000 + 1600 * i).astype(np.float32)
        soundfile.write(root / f"{name}.wav", noise, 16000)
    (paired / "wav.scp").write_text("".join(f"{n} {root}/{n}.wav\n" for n in names))
    (paired / "utt2spk").write_text("".join(f"{n} spk\n" for n in names))
    (paired / "spk2utt").write_text("spk " + " ".join(names) + "\n")
    return root


@pytest.fixture(scope="session")
def command(tmp_path_factory):
    """Runs a module of spft.bin in a process of its own.

    The process is a fork of this one, which has imported what takes longest: ESPnet.
    Not where there is a GPU: CUDA does not survive a fork.
    """
    import spft.train.task  # noqa: F401

    if torch.cuda.is_available():

        def run(name, *options):
            words = [sys.executable, "-m", f"spft.bin.{name}", *map(str, options)]
            done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
            done.stdout = done.stderr = done.stdout + done.stderr
            return done

        return run

    logs = tmp_path_factory.mktemp("commands")

    def run(name, *options):
        module = importlib.import_module(f"spft.bin.{name}")
        words = [name, *map(str, options)]
        log = logs / f"{len(list(logs.iterdir()))}.txt"
        context = multiprocessing.get_context("fork")
        process = context.Process(target=call, args=(module.main, words, log))
        process.start()
        process.join(600)
        process.kill()  # if it hangs; else it has ended
        output = log.read_text()
        return subprocess.CompletedProcess(words, process.exitcode, output, output)

    return run


def call(main, words, log):
    """As a process's main program, with its words and its output in a file."""
    # A fork needs a new thread pool: now, or threads that load weights race for it.
    torch.set_num_threads(torch.get_num_threads())
    os.chdir(ROOT)
    stream = open(log, "w", buffering=1)  # noqa: SIM115  # written until the end
    for number in (1, 2):
        os.dup2(stream.fileno(), number)
    sys.argv, sys.stdout, sys.stderr = words, stream, stream
    errors.run(main)


@pytest.fixture(scope="session")
def train(command):
    """Trains a stage on a data directory, which is its dev set as well."""

    def run(config, data, out, *options):
        given = ["--config", config, "--train", data, "--valid", data, "--out", out]
        return command("train", *given, *options)

    return run


class Checkout:
    """A copy of the repository, whose runs meet none of the user's."""

    def __init__(self, folder):
        apart = {".git", ".venv", ".cache", "exp", "data", "dump"}

        def left_out(path, names):
            return apart & {*names} if Path(path) == ROOT else {"__pycache__"}

        shutil.copytree(ROOT, folder, ignore=left_out)
        (ROOT / ".cache").mkdir(exist_ok=True)
        for name in (".venv", ".cache"):  # packages and models
            (folder / name).symlink_to(ROOT / name)
        self.folder = folder

    def run(self, script, *options, cwd=None):
        """Run one of its scripts."""
        env = {k: v for k, v in os.environ.items() if k != "LIBRISPEECH"}
        return subprocess.run(
            [self.folder / script, *map(str, options)],
            cwd=cwd or self.folder, capture_output=True, text=True, env=env,
        )  # fmt: skip


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    return Checkout(tmp_path_factory.mktemp("checkout") / "repository")


@pytest.fixture(scope="session")
def recipe(checkout):
    """Runs ``run.sh``."""
    return functools.partial(checkout.run, "run.sh")


class Run(NamedTuple):
    """A run of all stages."""

    exp: Path
    data: Path
    printed: str
    unprepared: subprocess.CompletedProcess  # stage 4 before there was anything


@pytest.fixture(scope="session")
def tiny(recipe, checkout):
    """``./run.sh --preset tiny``."""
    unprepared = recipe("--preset", "tiny", "--stage", "4", "--stop_stage", "4")
    result = recipe("--preset", "tiny")
    assert result.returncode == 0, result.stderr[-3000:]
    exp, data = (checkout.folder / name / "tiny" for name in ("exp", "data"))
    return Run(exp, data, result.stdout, unprepared)


@pytest.fixture(scope="session")
def model_yaml(tiny_llm, tmp_path_factory):
    keys = yaml.safe_load((PRESET / "model.yaml").read_text())
    keys["llm_conf"]["name"] = str(tiny_llm)
    path = tmp_path_factory.mktemp("conf") / "model.yaml"
    path.write_text(yaml.safe_dump(keys))
    return path


@pytest.fixture(scope="session")
def stages(train, tiny_data, model_yaml, tmp_path_factory):
    """Baseline, prompt and decoder stage; each one's folder."""
    root = tmp_path_factory.mktemp("exp")
    text = tiny_data / "text"
    for result in (
        train(PRESET / "baseline.yaml", tiny_data / "paired", root / "baseline",
              "--model", model_yaml),
        train(PRESET / "prompt.yaml", text, root / "prompt",
              "--init", root / "baseline"),
        train(PRESET / "decoder.yaml", text, root / "soft", "--init", root / "prompt"),
        train(PRESET / "decoder.yaml", text, root / "plain", "--init",
              root / "baseline", "--", "--adapt", "no_prompt"),
    ):  # fmt: skip
        assert result.returncode == 0, result.stderr
    return root

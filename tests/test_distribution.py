"""Stages trained by several processes, through their command."""

import re
import socket
from pathlib import Path

import pytest

PRESET = Path(__file__).parents[1] / "conf" / "presets" / "tiny"


def test_two_processes_where_a_part_is_left_out(train, model_yaml, tiny_data, tmp_path):
    """Without the LLM's loss the projector's residual gets no gradient."""
    result = train(PRESET / "baseline_ctc.yaml", tiny_data / "paired", tmp_path / "exp",
                   "--model", model_yaml, "--launcher",
                   "torchrun --standalone --nproc_per_node 2", "--",
                   "--batch_size", "2", "--max_epoch", "1")  # fmt: skip
    assert result.returncode == 0, result.stderr


@pytest.fixture
def two_machines(tmp_path):
    """A launcher like srun: a torchrun for each of two machines, which are this one."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    torchrun = (
        "torchrun --nnodes 2 --nproc_per_node 1 --rdzv_backend c10d --rdzv_id test "
        f'--rdzv_endpoint localhost:{port} "$@"'
    )
    script = tmp_path / "two_machines.sh"
    script.write_text(f"{torchrun} &\n{torchrun} && wait $!\n")
    return f"bash {script}"


@pytest.fixture(scope="module")
def losses(train, stages, tiny_data):
    """Train two epochs into a folder; its train.log, and the losses of each epoch."""

    def run(out, launcher=(), options=()):
        result = train(PRESET / "decoder.yaml", tiny_data / "text", out, *launcher,
                       "--init", stages / "prompt", "--", "--batch_size", "4",
                       "--max_epoch", "2", *options)  # fmt: skip
        assert result.returncode == 0, result.stderr
        log = (out / "train.log").read_text()
        found = re.findall(r"epoch results: .*? loss=([0-9.]+).*?loss=([0-9.]+)", log)
        assert len(found) == 2
        return log, [float(loss) for epoch in found for loss in epoch]

    return run


@pytest.fixture(scope="module")
def expected(losses, tmp_path_factory):
    """Those of one process."""
    return pytest.approx(losses(tmp_path_factory.mktemp("one"))[1], abs=2e-3)


def test_two_processes_train_as_one(losses, expected, tmp_path, two_machines):
    """The same losses, epoch by epoch, for the same global batches."""
    log, found = losses(tmp_path / "two", ("--launcher", two_machines))
    assert "\nOSS (" not in log and found == expected


def test_sharded_processes_train_as_one(losses, expected, tmp_path):
    pytest.importorskip("fairscale")
    launcher = "--launcher", "torchrun --standalone --nproc_per_node 2"
    log, found = losses(tmp_path / "sharded", launcher, ("--sharded_ddp", "true"))
    assert "\nOSS (" in log  # fairscale's optimiser
    assert found == expected

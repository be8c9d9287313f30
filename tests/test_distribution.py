"""Stages trained by several processes, through their command."""

import re
import socket
from importlib.util import find_spec
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


def test_two_processes_train_as_one(train, stages, tiny_data, tmp_path, two_machines):
    """The same losses, epoch by epoch, for the same global batches."""
    one = "torchrun --standalone --nproc_per_node 2"
    ways = [((), ()), (("--launcher", two_machines), ())]
    ways.append((("--launcher", one), ("--sharded_ddp", "true")))
    losses = []
    for launcher, options in ways[: 3 if find_spec("fairscale") else 2]:
        out = tmp_path / f"exp{len(losses)}"
        result = train(PRESET / "decoder.yaml", tiny_data / "text", out, *launcher,
                       "--init", stages / "prompt", "--", "--batch_size", "4",
                       "--max_epoch", "2", *options)  # fmt: skip
        assert result.returncode == 0, result.stderr
        log = (out / "train.log").read_text()
        assert ("\nOSS (" in log) == bool(options)  # fairscale's optimiser
        found = re.findall(r"epoch results: .*? loss=([0-9.]+).*?loss=([0-9.]+)", log)
        losses.append([tuple(map(float, pair)) for pair in found])
    expected = [pytest.approx(pair, abs=2e-3) for pair in losses[0]]
    assert len(expected) == 2 and all(found == expected for found in losses[1:])

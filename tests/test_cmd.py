"""tools/cmd.sh: shards here and, through a stand-in for sbatch, as a Slurm array."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Fails for shard 2 as long as there is no file "mended".
JOB = "echo $JOB >>{out}; if [ $JOB = 2 ]; then [ -e {out}.mended ]; fi"
# Slurm itself runs no array without a cluster; this runs what its script would.
SBATCH = """#!/usr/bin/env bash
while [ $# -gt 0 ]; do
    case $1 in
        --array) list=${2%%%*}; shift ;;
        --output) log=$2; shift ;;
        --wrap) script=$2; shift ;;
    esac
    shift
done
for id in ${list//,/ }; do
    SLURM_ARRAY_TASK_ID=$id bash -c "$script" >"${log//%a/$id}" 2>&1
done
"""


def program(folder, name, script):
    """Puts it before all others of its name; the environment that finds it."""
    (folder / name).write_text(script)
    (folder / name).chmod(0o755)
    return os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize("backend", ["local", "slurm"])
def test_only_a_failed_shard_runs_again(backend, tmp_path):
    out, log = tmp_path / "out", tmp_path / "the JOB's log"
    environment = program(tmp_path, "sbatch", SBATCH)

    def run():
        return subprocess.run(
            ["tools/cmd.sh", "--backend", backend, "--shards", "3", "--log",
             log, "--command", JOB.format(out=out)],
            cwd=ROOT, capture_output=True, text=True, env=environment,
        )  # fmt: skip

    first = run()
    assert first.returncode == 1
    assert first.stderr.splitlines()[-1].startswith("error: shards 2 failed")
    assert sorted(out.read_text().split()) == ["1", "2", "2", "3"]
    Path(f"{out}.mended").touch()
    assert run().returncode == 0
    assert sorted(out.read_text().split()) == ["1", "2", "2", "2", "3"]
    assert run().returncode == 0  # finished: a new call starts anew
    assert len(out.read_text().split()) == 8


def test_a_stopped_call_cancels_its_array(tmp_path):
    program(tmp_path, "sbatch", f"#!/bin/sh\necho $* >{tmp_path}/begun\nsleep 60\n")
    cancelled = tmp_path / "cancelled"
    script = f"#!/bin/sh\necho $* >>{cancelled}\n"
    process = subprocess.Popen(
        ["tools/cmd.sh", "--backend", "slurm", "--log", tmp_path / "log",
         "--command", "true"],
        cwd=ROOT, env=program(tmp_path, "scancel", script), start_new_session=True,
    )  # fmt: skip
    for _ in range(100):
        if (tmp_path / "begun").exists():
            break
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(timeout=10) == 143
    (name,) = re.findall(r"--job-name (\S+)", (tmp_path / "begun").read_text())
    assert cancelled.read_text() == f"--name {name}\n" * 2  # before and after


def test_shards_share_out_the_gpus(tmp_path):
    out = tmp_path / "out"
    command = f"echo $JOB:$CUDA_VISIBLE_DEVICES >>{out}; sleep .2"
    environment = program(tmp_path, "nvidia-smi", "#!/bin/sh\necho 0; echo 1; echo 2\n")
    for visible, expected in ((None, {"0", "1", "2"}), ("2,5", {"2", "5"}), ("", {""})):
        environment.pop("CUDA_VISIBLE_DEVICES", None)
        if visible is not None:
            environment["CUDA_VISIBLE_DEVICES"] = visible
        subprocess.run(
            ["tools/cmd.sh", "--shards", "4", "--log", tmp_path / "log",
             "--command", command],
            cwd=ROOT, env=environment, check=True,
        )  # fmt: skip
        lines = [line.split(":") for line in out.read_text().splitlines()]
        assert sorted(shard for shard, _ in lines) == ["1", "2", "3", "4"]
        assert {gpu for _, gpu in lines} == expected
        out.unlink()

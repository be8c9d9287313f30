"""tools/cmd.sh: shards here and, through a stand-in for sbatch, as a Slurm array."""

import os
import subprocess
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


@pytest.mark.parametrize("backend", ["local", "slurm"])
def test_only_a_failed_shard_runs_again(backend, tmp_path):
    out, log = tmp_path / "out", tmp_path / "the JOB's log"
    (tmp_path / "sbatch").write_text(SBATCH)
    (tmp_path / "sbatch").chmod(0o755)

    def run():
        return subprocess.run(
            ["tools/cmd.sh", "--backend", backend, "--shards", "3", "--log",
             log, "--command", JOB.format(out=out)],
            cwd=ROOT, capture_output=True, text=True,
            env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
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

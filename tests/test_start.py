"""Commands start at once: what is heavy is imported where it is used."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMANDS = sorted(path.stem for path in (ROOT / "spft/bin").glob("[!_]*.py"))
HELP = """
import runpy, sys
sys.argv = ["x", "--help"]
try:
    runpy.run_module("spft.bin.{}", run_name="__main__")
except SystemExit as end:
    heavy = {{"torch", "transformers", "espnet2", "onnxruntime"}} & sys.modules.keys()
    sys.exit(end.code or ", ".join(heavy) or 0)
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_nothing_heavy(command):
    result = subprocess.run(
        [sys.executable, "-c", HELP.format(command)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("usage: ")

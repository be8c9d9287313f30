"""Where results were made: versions, processor, threads, date and commit."""

import os
import platform
import subprocess
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("torch", "espnet", "transformers")


def environment(report: Path | None = None) -> dict[str, str]:
    """Name -> value, in the order in which to print them.

    Args:
        report: the file being made, if any, see :func:`git_commit`.
    """
    return {
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "CPU": cpu_name(),
        "threads": os.environ.get("OMP_NUM_THREADS") or str(os.cpu_count()),
        "report made at commit": git_commit(report),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def cpu_name() -> str:
    """The processor's name, as precisely as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1] for line in lines if line.startswith("model name")]
    return names[0].strip() if names else platform.processor() or platform.machine()


def git_commit(report: Path | None = None) -> str:
    """The commit, with ``(dirty)`` if tracked files were changed after it.

    Files of the report's name do not count.
    """
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return "none"
    exclude = [f":(top,exclude,glob)**/{report.name}"] if report else []
    changes = _git("status", "--porcelain", "-uno", "--", ":(top)", *exclude)
    return commit + (" (dirty)" if changes else "")


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()

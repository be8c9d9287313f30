"""Logs of long runs go to a file; the terminal shows progress."""

import logging
from pathlib import Path


def log_to(path: Path) -> None:
    """Send ESPnet's log to a file; show its line per epoch on the terminal.

    Call it before ESPnet is imported, whose imports log too.
    """
    form = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    to_file = logging.FileHandler(path, encoding="utf-8")
    to_file.setFormatter(form)
    console = logging.StreamHandler()
    console.addFilter(lambda record: "epoch results" in record.getMessage())
    logging.basicConfig(level=logging.INFO, handlers=[to_file, console], force=True)

"""Readers of corpora in their official layouts, one module each.

What ``spft.bin.prepare_data`` asks of one that :data:`READERS` names:

- ``VARIABLE``: of ``tools/db.sh``, says where the corpus is; None: ``--source`` does
- ``DOMAIN``: names the sets where ``--domain`` does not; None: that is needed
- ``HELP``: what it is
- ``add_options(parser)``: the reader's own options
- ``read(args)``: set name (``train``, ``text/dev``, …) -> utterances
"""

import argparse
import os
from pathlib import Path

from spft.errors import UserError

READERS = (
    "mini",
    "librispeech",
    "snips",
    "sgd",
    "slurp",
    "speech_to_intent",
    "general_text",
)


def find_source(given: str | None, variable: str | None) -> Path:
    """The corpus folder, from the command line or the environment.

    Raises:
        UserError: none is given, or it is not there.
    """
    path = given or (os.environ.get(variable) if variable else None)
    hint = f"set {variable} (tools/db.sh names the official source)"
    hint = hint if variable else "give its folder with --source"
    if not path:
        raise UserError(f"no corpus path; {hint}")
    if not Path(path).is_dir():
        raise UserError(f"{path}: no such corpus folder; {hint}")
    return Path(path)


def add_sizes(parser: argparse.ArgumentParser) -> None:
    """Add ``--sizes``, for corpora of which not all need be spoken."""
    parser.add_argument(
        "--sizes",
        type=int,
        nargs=2,
        metavar=("DEV", "TEST"),
        help="of dev and test; default: what the corpus has for them",
    )

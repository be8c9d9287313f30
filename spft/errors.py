"""Errors that the user can mend, shown as one line instead of a traceback."""

import errno
import sys
from collections.abc import Callable


class UserError(Exception):
    """Bad input: the message says what, which file, which line, and what to do."""


def run(main: Callable[[], None]) -> None:
    """Run a command's ``main``; what the user can mend becomes one line and exit 1."""
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            sys.exit(f"error: disk full while writing {error.filename or 'output'}")
        raise

"""Errors that the user can mend, shown as one line instead of a traceback."""

import errno
import signal
import sys
from collections.abc import Callable

# How torch.save and safetensors say that the disk is full, without an errno.
FULL = ("inline_container.cc", "No space left on device")
REFUSED = (errno.EACCES, errno.EEXIST, errno.EPERM, errno.EROFS)


class UserError(Exception):
    """Bad input: the message says what, which file, which line, and what to do."""


def run(main: Callable[[], None]) -> None:
    """Run a command's ``main``; what the user can mend becomes one line and exit 1."""
    # As by Ctrl-C: what is half-written is cleared away before the end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in REFUSED and error.filename:
            sys.exit(f"error: {error.filename}: {error.strerror}")
        if not disk_full(error):
            raise
        name = getattr(error, "filename", None) or "output"
        sys.exit(f"error: disk full while writing {name}; make room and run again")


def disk_full(error: Exception) -> bool:
    """Whether ``error`` is a failure to write for want of space."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOSPC
    return any(words in str(error) for words in FULL)

"""One line for what the user can mend, also when the disk is really full."""

import ctypes
import errno
import os
import signal
import time

import pytest

from spft.errors import UserError, run
from spft.files import atomic_write, read_yaml


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB; needs root."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", bytes(tmp_path), b"tmpfs", 0, b"size=1m"):
        pytest.skip(f"no file system of our own: {os.strerror(ctypes.get_errno())}")
    yield tmp_path
    libc.umount(bytes(tmp_path))


def save_torch(path):
    import torch

    torch.save({"a": torch.zeros(2**20)}, path)


def save_safetensors(path):
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2**20)}, str(path))


def save_text(path):
    from spft.files import atomic_write

    with atomic_write(path) as stream:
        stream.write("a" * 2**22)


@pytest.mark.parametrize("save", [save_torch, save_safetensors, save_text])
def test_disk_full(small_disk, save):
    with pytest.raises(SystemExit, match="^error: disk full .*; make room"):
        run(lambda: save(small_disk / "file"))
    if save is save_text:
        assert not list(small_disk.iterdir())


def test_one_line_and_no_other_error_is_hidden():
    def bad_input():
        raise UserError("text:3: no words; remove the line")

    with pytest.raises(SystemExit, match="^error: text:3: no words; remove the line$"):
        run(bad_input)
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 / 0)
    with pytest.raises(FileNotFoundError):
        run(lambda: os.stat("/no/such/file"))


def test_the_end_by_a_signal_clears_away(tmp_path):
    def stopped(number):
        with atomic_write(tmp_path / "file") as stream:
            stream.write("half")
            os.kill(os.getpid(), number)
            time.sleep(10)

    # Where tests run in the background, the shell has them ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGINT):
        with pytest.raises(SystemExit) as end:
            run(lambda n=number: stopped(n))
        assert end.value.code == 128 + number and not list(tmp_path.iterdir())
    signal.signal(signal.SIGINT, before)


def test_what_may_not_be_written_is_one_line(tmp_path):
    def refused():
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path))

    with pytest.raises(SystemExit, match=f"^error: {tmp_path}: Permission denied$"):
        run(refused)


def test_numbers_with_an_exponent_are_numbers(tmp_path):
    path = tmp_path / "conf.yaml"
    path.write_text("lr: 1e-3\nmore: [2E4, -1e+2, 1.5e-1, e3, 1e]\n")
    keys = {"lr": 0.001, "more": [20000.0, -100.0, 0.15, "e3", "1e"]}
    assert read_yaml(path) == keys

"""One line for what the user can mend, also when the disk is really full."""

import ctypes
import os

import pytest

from spft.errors import UserError, run
from spft.files import read_yaml


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


def test_numbers_with_an_exponent_are_numbers(tmp_path):
    path = tmp_path / "conf.yaml"
    path.write_text("lr: 1e-3\nmore: [2E4, -1e+2, 1.5e-1, e3, 1e]\n")
    keys = {"lr": 0.001, "more": [20000.0, -100.0, 0.15, "e3", "1e"]}
    assert read_yaml(path) == keys

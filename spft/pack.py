"""One archive with all that a recogniser needs beside its pretrained models.

``pack.yaml`` in it names, for each domain, the trained stage, the external LMs and
their weights; and the pretrained models with checksums of what they were.
"""

import hashlib
import shutil
import tempfile
import zipfile
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path

from spft.errors import UserError
from spft.files import atomic_write, sha256
from spft.search.config import DecodeConfig

MANIFEST = "pack.yaml"
FORMAT = 4  # without a length penalty
BASE = "base"  # the baseline's name among the domains


@dataclass(frozen=True)
class Domain:
    """What recognises one domain.

    Attributes:
        model: folder of a trained stage.
        external: "lm" and "ngram" to their folders, as far as there are any.
        weights: of these in the search.
        names: the entities of its adaptation text, a name and its type a line; None
            if they are not known.
        second: weights of the second pass; none: there is no second pass.
        phrases: of its adaptation text, one a line, for the second pass.
        decode: keys of its search; None: the pack's.
    """

    model: Path
    external: dict[str, Path] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    names: Path | None = None
    second: dict[str, float] = field(default_factory=dict)
    phrases: Path | None = None
    decode: dict | None = None


@dataclass(frozen=True)
class Pack:
    """A recogniser on disk: its domains and the configuration of its search."""

    domains: dict[str, Domain]
    decode: dict

    def find(self, name: str) -> Domain:
        """The domain of that name; UserError if there is none."""
        if name not in self.domains:
            raise UserError(f"no domain {name!r}; there is {', '.join(self.domains)}")
        return self.domains[name]


def open_pack(path: str | Path) -> Pack:
    """Open an archive, a folder unpacked from one, or a single trained stage.

    Raises:
        UserError: it is none of these, it is damaged, or a pretrained model on this
            machine is not the one it was made with.
    """
    import yaml

    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such archive or experiment folder")
    if path.is_dir() and not (path / MANIFEST).exists():
        if not (path / "model.safetensors").exists():
            raise UserError(
                f"{path}: neither a pack ({MANIFEST}) nor a trained stage "
                "(model.safetensors) is there"
            )
        return Pack({BASE: Domain(path)}, {})
    folder = path if path.is_dir() else _unpack(path)
    manifest = yaml.safe_load((folder / MANIFEST).read_text(encoding="utf-8"))
    if manifest.get("format") != FORMAT:
        raise UserError(
            f"{path}: a pack of format {manifest.get('format')}, this version reads "
            f"{FORMAT}; pack it again (run.sh --stage 9) or take the other version"
        )
    for name, model in manifest["models"].items():
        if (found := checksum(name)) != model["sha256"]:
            raise UserError(
                f"{path}: made with {name} of sha256 {model['sha256'][:12]}…, here it "
                f"is {found[:12]}…; its adapters fit no other model: fetch that one"
            )
    domains = {
        name: Domain(
            folder / keys["model"],
            {kind: folder / where for kind, where in keys["external"].items()},
            keys["weights"],
            folder / keys["names"] if keys.get("names") else None,
            keys.get("second", {}),
            folder / keys["phrases"] if keys.get("phrases") else None,
            keys.get("decode"),
        )
        for name, keys in manifest["domains"].items()
    }
    return Pack(domains, manifest["decode"])


def write_pack(
    domains: dict[str, Domain],
    decode: DecodeConfig,
    out: Path,
    results: Path | None = None,
) -> None:
    """Write an archive.

    Args:
        domains: what goes in, by name.
        decode: of the search.
        out: the ``.zip`` to write.
        results: RESULTS.md that goes with it.
    """
    import yaml

    from spft.checkpoint import read_config, read_weights, write_weights

    models: dict[str, dict] = {}
    adapters: dict[str, set[str]] = {}
    manifest = {"format": FORMAT, "decode": asdict(decode), "models": models}
    manifest["domains"] = {}
    with tempfile.TemporaryDirectory(dir=out.parent) as temporary:
        root = Path(temporary)
        for name, domain in domains.items():
            config = read_config(domain.model)
            for model in pretrained_names(config):
                if model not in models:
                    models[model] = identity(model)
            weights = read_weights(domain.model)
            adapters[name] = {key for key in weights if not key.startswith("adapt.")}
            if adapters[name] != next(iter(adapters.values())):
                raise UserError(
                    f"{domain.model}: other parts were trained than of "
                    f"{next(iter(adapters))}, so that they cannot share an LLM; use "
                    "its folder as it is (transcribe --model)"
                )
            write_weights(root / name, weights)
            manifest["domains"][name] = _write_domain(root, name, domain)
        text = yaml.safe_dump(manifest, sort_keys=False)
        (root / MANIFEST).write_text(text, encoding="utf-8")
        if results:
            shutil.copy(results, root / "RESULTS.md")
        with (
            atomic_write(out, "wb") as stream,
            zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            for path in sorted(root.rglob("*")):
                archive.write(path, path.relative_to(root))


def _write_domain(root: Path, name: str, domain: Domain) -> dict:
    """Copy a domain but for its weights to ``root``; its part of the manifest."""
    from spft.search.neural_lm import CHECKPOINTS

    shutil.copy(domain.model / "config.yaml", root / name)
    keys = {"model": name, "external": {}, "weights": domain.weights}
    keys["second"] = domain.second
    if domain.decode:
        keys["decode"] = domain.decode
    for kind, folder in domain.external.items():
        target = root / name / kind
        target.mkdir()
        wanted = ("config.yaml", "ngram.arpa")
        lms = [folder / n for n in CHECKPOINTS if (folder / n).exists()]
        for path in [*(folder / n for n in wanted), *lms[:1]]:
            if path.exists():
                shutil.copy(path.resolve(), target / path.name)
        keys["external"][kind] = f"{name}/{kind}"
    tables = {"names": (domain.names, "names.tsv")}
    tables["phrases"] = domain.phrases, "phrases.txt"
    for key, (table, file) in tables.items():
        if table:
            shutil.copy(table, root / name / file)
            keys[key] = f"{name}/{file}"
    return keys


def pretrained_names(config: dict) -> list[str]:
    """The pretrained models that a trained stage stands on."""
    encoder = config["encoder_conf"]
    names = [config["llm_conf"]["name"], encoder.get("extractor"), encoder.get("name")]
    return [name for name in names if name]


def identity(name: str) -> dict[str, str]:
    """Checksum and licence of a pretrained model; a hub's model card states it."""
    from huggingface_hub import ModelCard

    from spft.pretrained import MODELS

    licence, card = None, _folder(name) / "README.md"
    if name in MODELS:
        licence = MODELS[name].licence
    elif card.exists():
        licence = ModelCard.load(card, ignore_metadata_errors=True).data.license
    return {"sha256": checksum(name), "licence": str(licence or "not stated")}


def checksum(name: str) -> str:
    """sha256 over the weights and the tokenizer of a pretrained model."""
    folder = _folder(name)
    weights = [*folder.glob("*.safetensors")] or [*folder.glob("pytorch_model*.bin")]
    if not weights:
        raise UserError(
            f"{name}: neither *.safetensors nor pytorch_model*.bin, without which "
            "nobody could tell whether a pack fits it"
        )
    digest = hashlib.sha256()
    for path in [*sorted(weights), *sorted(folder.glob("tokenizer.*"))]:
        digest.update(bytes.fromhex(sha256(path)))
    return digest.hexdigest()


def _folder(name: str) -> Path:
    """Where a pretrained model lies."""
    from spft.pretrained import resolve

    folder = resolve(name)
    if isinstance(folder, Path):
        return folder
    # A hub's, which keeps its own copy.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    patterns = ["tokenizer*", "README.md"]
    try:
        for weights in ("*.safetensors", "pytorch_model*.bin"):
            found = snapshot_download(folder, allow_patterns=[weights, *patterns])
            if list(Path(found).glob(weights)):
                break
        return Path(found)
    except HFValidationError:
        raise UserError(f"{name}: no such folder; the LLM was there once") from None


def _unpack(archive: Path) -> Path:
    """Unpack into the cache, once for each content."""
    from spft.pretrained import cache_dir

    target = cache_dir() / "packs" / sha256(archive)[:16]
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        folder = Path(temporary) / "pack"
        try:
            with zipfile.ZipFile(archive) as pack:
                pack.extractall(folder)
        except (zipfile.BadZipFile, zlib.error, EOFError):
            raise UserError(
                f"{archive}: not a whole zip archive; fetch it again"
            ) from None
        if not (folder / MANIFEST).exists():
            raise UserError(
                f"{archive}: no {MANIFEST} in it; run.sh --stage 9 makes one"
            )
        if not target.is_dir():  # another process may have been quicker
            folder.rename(target)
    return target

"""The inputs of a training; a run with others must neither resume nor reuse it."""

import argparse
import json
import os
import re
from pathlib import Path

from spft.data.features import audio_stamp
from spft.errors import UserError
from spft.files import sha256

DEVICE_KEYS = ("compile", "cuda_graphs")  # of llm_conf; they leave results as they are


def collect_settings(args: argparse.Namespace, stage: dict) -> dict:
    """What a training is made of.

    Args:
        args: of the command.
        stage: keys of its configuration.
    """
    names = ("train", "valid", "init", "seed", "part_size")
    settings = {name: getattr(args, name) for name in names}
    # A training may go on, and a finished one be used, on another device.
    device = rf"--(ngpu[ =]\d+|llm_conf[ =]({'|'.join(DEVICE_KEYS)})=\w+) ?"
    settings["espnet"] = re.sub(device, "", " ".join(args.espnet)).strip()
    llm = stage.get("llm_conf") or {}
    llm = {name: value for name, value in llm.items() if name not in DEVICE_KEYS}
    settings["config"] = {k: v for k, v in stage.items() if k != "llm_conf"}
    if llm:
        settings["config"]["llm_conf"] = llm
    files = [folder / "text" for folder in (args.train, args.valid)]
    if llm.get("name"):  # where it is a folder: of a hub's model the name is enough
        files += sorted(Path(llm["name"]).glob("*.safetensors"))
        files.append(Path(llm["name"]) / "tokenizer.json")
    files += [folder / "wav.scp" for folder in (args.train, args.valid)]
    files += [args.dump / f.name / "first_pass" for f in (args.train, args.valid)]
    files += [Path(folder) / "model.safetensors" for folder in args.init]
    values = [option.partition("=")[2] for option in args.espnet]
    files += [Path(value) for value in values if os.path.isfile(value)]
    confusions = (stage.get("adapt_conf") or {}).get("confusions")
    files += [Path(confusions)] if confusions else []
    settings["sha256"] = {str(path): sha256(path) for path in files if path.exists()}
    for folder in (args.train, args.valid):  # audio that a model reads itself
        table, frames = folder / "wav.scp", args.dump / folder.name
        if table.exists() and not (frames / "feats.scp").exists():
            settings["sha256"][str(folder)] = audio_stamp(table)
    return json.loads(json.dumps(settings, default=str))


def check_settings(out: Path, settings: dict) -> None:
    """Refuse to go on with a training that was made of something else.

    Raises:
        UserError: ``settings.json`` in ``out`` differs from ``settings``, or is not
            there: the shipped baseline has none.
    """
    path = out / "settings.json"
    if not path.exists():
        raise UserError(
            f"{out}: trained elsewhere, for it has no {path.name}; remove the folder "
            "to train it here"
        )
    earlier = json.loads(path.read_text("utf-8"))
    other = [
        difference(name, earlier.get(name), settings[name])
        for name in settings
        if settings[name] != earlier.get(name)
    ]
    if other:
        raise UserError(
            f"{out}: what was trained there differs from this in {', '.join(other)} "
            f"({path}); go on with that, or remove the folder"
        )


def difference(name: str, there: object, here: object) -> str:
    """What differs of a setting, in words."""
    if not (isinstance(there, dict) and isinstance(here, dict)):
        return f"{name} ({there} there, {here} here)"
    keys = there.keys() | here.keys()
    other = sorted(key for key in keys if there.get(key) != here.get(key))
    if name == "sha256":
        return f"what is in {' and '.join(other)}"
    return ", ".join(difference(key, there.get(key), here.get(key)) for key in other)

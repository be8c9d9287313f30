"""A stage's result on disk: ``config.yaml`` and ``model.safetensors``."""

from pathlib import Path

from torch import Tensor

from spft.errors import UserError
from spft.files import atomic_write, read_yaml

# What must not change from one stage to the next.
ARCHITECTURE = ("encoder", "encoder_conf", "projector", "projector_conf", "llm_conf")


def read_config(folder: str | Path) -> dict:
    """Read the configuration of a trained stage."""
    path = Path(folder) / "config.yaml"
    if not path.exists():
        raise UserError(f"{path}: not found; run the stage that trains {folder} first")
    return read_yaml(path)


def read_weights(folder: str | Path) -> dict[str, Tensor]:
    """Read the trained tensors of a stage, in float32 unless integers."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(folder) / "model.safetensors"
    if not path.exists():
        raise UserError(f"{path}: not found; run the stage that trains {folder} first")
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path}: not a whole safetensors file ({error})") from error
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def write_weights(folder: str | Path, state: dict[str, Tensor], dtype=None) -> Path:
    """Write trained tensors; ``dtype`` (e.g. bfloat16) halves what is shipped."""
    from safetensors.torch import save

    # A clone each: tied weights share memory, which safetensors refuses.
    state = {
        k: (v.to(dtype) if dtype and v.is_floating_point() else v).clone().contiguous()
        for k, v in state.items()
    }
    path = Path(folder) / "model.safetensors"
    with atomic_write(path, "wb") as stream:
        stream.write(save(state, metadata={"format": "pt"}))
    return path


def made_here(model) -> set[str]:
    """Names of what no pretrained model gives: its stages must train or inherit it."""
    from torch.nn import Module

    parts = ["projector.", "adapt."]
    if not getattr(model.encoder, "pretrained", False):
        parts.append("encoder.")
    return {
        name
        for name in Module.state_dict(model)  # buffers, too: of normalisation
        if name.startswith(tuple(parts)) or "lora_" in name
    }


def load_model(folder: str | Path):
    """The :class:`spft.model.SpeechLLM` of a trained stage, ready for inference."""
    import argparse

    from spft.build import DEFAULTS, build_model

    config = DEFAULTS | read_config(folder)
    config |= {"init": [], "strength": 1.0}  # all that is needed stands in this folder
    model = build_model(argparse.Namespace(**config))
    weights = read_weights(folder)
    if missing := sorted((made_here(model) | model.saved) - set(weights)):
        raise UserError(
            f"{folder}/model.safetensors: lacks {missing[0]} and {len(missing) - 1} "
            "more; it does not belong to its config.yaml"
        )
    model.load_stage(weights)
    return model.eval()


def read_recognizer_weights(folder: str | Path) -> dict[str, Tensor]:
    """Read the trained tensors of a stage, but for what stands before text in training.

    That is the soft prompt.
    """
    weights = read_weights(folder)
    return {name: w for name, w in weights.items() if not name.startswith("adapt.")}

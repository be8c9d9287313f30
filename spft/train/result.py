"""What becomes of a training's folder before and after ESPnet's trainer."""

import json
import math
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import is_zipfile

from spft.checkpoint import read_config, read_weights, write_weights
from spft.errors import UserError
from spft.files import atomic_write


@contextmanager
def replaced(out: Path) -> Iterator[None]:
    """Put a finished stage aside until the new one is there.

    It comes back if nothing was trained, as where an option is wrong.
    """
    old = out.with_name(f"{out.name}.old")
    made = ("model.safetensors", "checkpoint.pth")

    def bring_back() -> None:
        if old.exists() and not any((out / name).exists() for name in made):
            shutil.rmtree(out, ignore_errors=True)
            old.rename(out)

    bring_back()  # after a kill
    if (out / "model.safetensors").exists():
        shutil.rmtree(old, ignore_errors=True)
        out.rename(old)
    try:
        yield
    except BaseException:
        bring_back()
        raise
    shutil.rmtree(old, ignore_errors=True)


def repair(out: Path, criterion: list[str]) -> bool:
    """Mend what an end in the middle of saving an epoch left.

    ESPnet writes the checkpoint, the epoch's weights and the link to the best epoch one
    after the other, and counts on all three when it goes on.

    Args:
        out: experiment folder with a ``checkpoint.pth``.
        criterion: phase, figure, and "min" or "max", that the best epoch is chosen by.

    Returns:
        Whether the training can go on; else it has to begin anew.
    """
    import torch
    from espnet2.train.reporter import Reporter

    path, checkpoint = out / "checkpoint.pth", None
    if is_zipfile(path):
        try:
            checkpoint = torch.load(path, "cpu", weights_only=True)
        except RuntimeError as error:  # a part is missing; else it is not to be removed
            if "PytorchStreamReader" not in str(error):
                raise
    if checkpoint is None:  # half-written
        print(f"warning: {out}: ended while it was saved; begins anew", file=sys.stderr)
        for path in out.glob("*.pth"):
            path.unlink()
        return False
    reporter = Reporter()
    reporter.load_state_dict(checkpoint["reporter"])
    last = out / f"{reporter.get_epoch()}epoch.pth"
    torch.save(checkpoint["model"], last.with_suffix(".tmp"))
    last.with_suffix(".tmp").rename(last)
    phase, figure, mode = criterion
    if reporter.has(phase, figure):
        link = out / f"{phase}.{figure}.best.pth"
        link.unlink(missing_ok=True)
        link.symlink_to(f"{reporter.get_best_epoch(phase, figure, mode)}epoch.pth")
    return True


def finish(out: Path) -> None:
    """Turn the best epoch into ``model.safetensors``; remove all other weights."""
    import torch
    from espnet2.train.reporter import Reporter

    phase, figure, _ = read_config(out)["best_model_criterion"][0]
    best = out / f"{phase}.{figure}.best.pth"
    if not best.exists():
        raise UserError(
            f"{out}: no epoch was finished that has the figure `{figure}` of "
            f"best_model_criterion in {phase}; see {out}/train.log"
        )
    weights = torch.load(best, map_location="cpu", weights_only=True)
    reporter = Reporter()
    checkpoint = torch.load(out / "checkpoint.pth", "cpu", weights_only=True)
    reporter.load_state_dict(checkpoint["reporter"])
    epoch = int(best.resolve().name.removesuffix("epoch.pth"))
    figures = training_figures(out, weights, reporter.stats)
    wrong = None
    if not any("grad_norm" in epoch["train"] for epoch in reporter.stats.values()):
        wrong = "no step was taken, for no gradient was finite or accum_grad asks for "
        wrong += "more batches than there are"
    # ESPnet sorts what is no number anywhere, and may take such an epoch for the best.
    elif not math.isfinite(chosen := reporter.stats[epoch][phase][figure]):
        wrong = f"it diverged: {figures['criterion']} is {chosen} in epoch {epoch}"
    if wrong:
        for path in out.glob("*.pth"):
            path.unlink()  # not to go on from
        raise UserError(
            f"{out}: nothing was learnt: {wrong}; try a smaller learning rate, or "
            "float32 (llm_conf: {dtype: float32})"
        )
    # ESPnet passes over steps of no finite gradient.
    log = (out / "train.log").read_text(encoding="utf-8")
    if skipped := log.count("Skipping updating the model"):
        print(f"warning: {out}: {skipped} steps were passed over, for their gradients "
              "were not finite", file=sys.stderr)  # fmt: skip
    with atomic_write(out / "training.json") as stream:
        json.dump(figures, stream, indent=1)
    write_weights(out, interpolated(weights, read_config(out)))
    for path in out.glob("*.pth"):
        path.unlink()
    shutil.rmtree(out / "parts", ignore_errors=True)


def interpolated(weights: dict, config: dict) -> dict:
    """Weights between those that a stage began with and those that it trained.

    The first part of a change teaches mostly the domain, the last forgets the rest
    (WiSE-FT, arXiv 2109.01903). Figures of the training stay those of the whole change.

    Args:
        weights: trained.
        config: of the stage, whose ``strength`` is the share of the change to keep.
    """
    if config["strength"] == 1:
        return weights
    start: dict = {}
    for folder in config["init"]:
        start |= read_weights(folder)
    floating = {
        name for name in start.keys() & weights if start[name].is_floating_point()
    }
    return weights | {
        name: start[name].lerp(weights[name].float(), config["strength"])
        for name in floating
    }


def training_figures(out: Path, weights: dict, epochs: dict) -> dict:
    """What reports tell of a training.

    Args:
        out: experiment folder.
        weights: of the best epoch.
        epochs: number to ESPnet's figures of that epoch.

    Returns:
        ``parameters`` trained; ``epochs``, and in all of them ``seconds`` without
        validation and ``utterances`` (None if epochs are not of all data);
        ``criterion``, and the ``best`` figure, that the epoch was chosen by.
    """
    config = read_config(out)
    patterns = config["trainable"]
    trained = [
        weight
        for name, weight in weights.items()
        if any(re.search(pattern, name) for pattern in patterns)
        and not re.search(r"\.(running_mean|running_var|num_batches_tracked)$", name)
    ]
    phase, figure, mode = config["best_model_criterion"][0]
    utterances = None
    if config["num_iters_per_epoch"] is None:
        with open(out / "shapes" / "train.txt", encoding="utf-8") as lines:
            utterances = len(epochs) * sum(1 for _ in lines)
    times = [epoch["train"]["time"].total_seconds() for epoch in epochs.values()]
    best = [float(epoch[phase][figure]) for epoch in epochs.values()]
    best = sorted(filter(math.isfinite, best), reverse=mode == "max") or best
    return {
        # Tied weights have two names and one place.
        "parameters": sum({w.data_ptr(): w.numel() for w in trained}.values()),
        "epochs": len(epochs),
        "seconds": round(sum(times), 3),
        "utterances": utterances,
        "criterion": f"{phase} {figure}",
        "best": best[0],
    }

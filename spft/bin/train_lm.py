"""Train an LM: python -m spft.bin.train_lm --config C --data DIR --output_dir EXP.

This is ESPnet's LM task on data from spft.bin.prepare_lm. Further options, such as
``--max_epoch 3`` or ``--lm_conf unit=128``, are ESPnet's and win over the configuration
file; keys that ESPnet does not know are errors. An interrupted run goes on, on the
same data.
"""

import argparse
import json
import math
from pathlib import Path

from spft.errors import UserError, run
from spft.files import atomic_write, sha256
from spft.log import log_to

INPUTS = ("train.txt", "valid.txt", "train_shape", "valid_shape", "tokens.txt")


def get_parser() -> argparse.ArgumentParser:
    """The command line; what it does not know goes to ESPnet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config", default="conf/lm.yaml", help="YAML file, e.g. %(default)s")
    add("--data", required=True, type=Path, help="made by spft.bin.prepare_lm")
    add("--output_dir", required=True, type=Path, help="experiment directory")
    add("--ngpu", type=int, help="default: 1 where there is a GPU, else 0")
    return parser


def main() -> None:
    """Train, then print the perplexity of the best epoch."""
    args, options = get_parser().parse_known_args()
    for name in INPUTS:
        if not (args.data / name).exists():
            raise UserError(
                f"{args.data / name}: no such file; run spft.bin.prepare_lm "
                f"--out {args.data}"
            )
    check_inputs(args.data, args.output_dir)
    train(args, options)
    epoch, loss = best_epoch(args.output_dir)
    print(
        f"{args.output_dir}: perplexity {math.exp(loss):.2f} per token on the "
        f"validation text (epoch {epoch})"
    )


def check_inputs(data: Path, out: Path) -> None:
    """Refuse to go on with an LM of other text or tokens; keep what this one is of.

    Raises:
        UserError: there is one.
    """
    made_of = out / "made_of.json"
    sums = {name: sha256(data / name) for name in INPUTS}
    begun = (out / "checkpoint.pth").exists() and made_of.exists()
    if begun and json.loads(made_of.read_text("utf-8")) != sums:
        raise UserError(
            f"{out}: an LM of other text or tokens than {data} has now; remove it, or "
            "give another --output_dir"
        )
    with atomic_write(made_of) as stream:
        json.dump(sums, stream, indent=1)


def train(args: argparse.Namespace, options: list[str]) -> None:
    """Call ESPnet's LM task."""
    args.output_dir.mkdir(parents=True, exist_ok=True)
    log_to(args.output_dir / "train.log")

    import torch
    from espnet2.tasks.lm import LMTask

    from spft.train.result import repair
    from spft.train.trainer import ProgressTrainer

    if (args.output_dir / "checkpoint.pth").exists():
        repair(args.output_dir, ["valid", "loss", "min"])

    LMTask.trainer = ProgressTrainer
    ngpu = int(torch.cuda.is_available()) if args.ngpu is None else args.ngpu
    command = ["--config", args.config, "--output_dir", args.output_dir]
    command += ["--token_type", "word", "--token_list", args.data / "tokens.txt"]
    for name in ("train", "valid"):
        text = f"{args.data / name}.txt,text,text"
        command += [f"--{name}_data_path_and_name_and_type", text]
        command += [f"--{name}_shape_file", args.data / f"{name}_shape"]
    command += ["--resume", "true", "--num_workers", "0", "--ngpu", ngpu]
    LMTask.main(cmd=[*map(str, command), *options])


def best_epoch(output_dir: Path) -> tuple[int, float]:
    """Epoch with the least validation loss, and that loss in nats per token."""
    import torch

    path = output_dir / "checkpoint.pth"
    stats = torch.load(path, map_location="cpu", weights_only=True)["reporter"]["stats"]
    losses = {epoch: s["valid"]["loss"] for epoch, s in stats.items() if "valid" in s}
    epoch = min(losses, key=losses.get)
    return epoch, losses[epoch]


if __name__ == "__main__":
    run(main)

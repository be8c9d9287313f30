"""Train a stage: baseline, prompt or decoder, with ESPnet's trainer.

    python -m spft.bin.train --config conf/prompt.yaml --init exp/baseline \
        --train data/music_text/train --valid data/music_text/dev --out exp/music/prompt

The architecture comes from ``--model`` (the first stage) or from the stages named by
``--init``, whose trained parts are put together. A data directory with ``wav.scp`` is
paired data, one without is text only. An interrupted run goes on from its last epoch; a
finished one is trained anew. What follows ``--`` goes to ESPnet as it is
(``-- --max_epoch 3 --ngpu 1``).
"""

import argparse
import shutil
import sys
from pathlib import Path

from spft.errors import UserError, run
from spft.files import atomic_write
from spft.log import log_to


def get_parser() -> argparse.ArgumentParser:
    """Build the command's parser."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="What follows -- goes to ESPnet as it is.",
    )
    parser.add_argument("--config", required=True, help="YAML of the stage")
    parser.add_argument("--model", help="YAML of the architecture")
    parser.add_argument("--train", required=True, type=Path, help="data directory")
    parser.add_argument("--valid", required=True, type=Path, help="data directory")
    parser.add_argument("--out", required=True, type=Path, help="experiment folder")
    parser.add_argument(
        "--init", nargs="+", default=[], help="experiment folders to start from"
    )
    parser.add_argument(
        "--dump", type=Path, default=Path("dump"), help="encoder features of stage 2"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("espnet", nargs="*", help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Run the command."""
    args = get_parser().parse_args()
    for folder in (args.train, args.valid):
        if not (folder / "text").exists():
            raise UserError(f"{folder}/text: not found; run stage 1 first")
    if (args.out / "model.safetensors").exists():
        shutil.rmtree(args.out)
    args.out.mkdir(parents=True, exist_ok=True)
    log_to(args.out / "train.log")
    task = train(args)
    finish(args.out)
    print(f"{args.out}: trained ({task})", file=sys.stderr)


def train(args: argparse.Namespace) -> str:
    """Call ESPnet's trainer; return a word on what was trained."""
    from spft.task import SpeechLLMTask

    config = args.out / "stage.yaml"
    merge_yaml([args.model, args.config] if args.model else [args.config], config)
    command = ["--config", str(config), "--output_dir", str(args.out)]
    command += ["--seed", str(args.seed), "--resume", "true", "--num_workers", "0"]
    if args.init:
        command += ["--init", *args.init]
    for name, folder in (("train", args.train), ("valid", args.valid)):
        shapes = args.out / "shapes" / f"{name}.txt"
        sources = data_sources(folder, args.dump, shapes)
        for source in sources:
            command += [f"--{name}_data_path_and_name_and_type", source]
        command += [f"--{name}_shape_file", str(shapes)]
    SpeechLLMTask.main(cmd=command + args.espnet)
    return "paired" if len(sources) == 2 else "text only"


def merge_yaml(paths: list[str], out: Path) -> None:
    """Write the keys of several YAML files into one; a key given twice is an error."""
    import yaml

    merged: dict = {}
    for path in paths:
        if not Path(path).exists():
            raise UserError(f"{path}: no such configuration")
        try:
            keys = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{path}: not valid YAML: {reason}") from error
        if twice := sorted(merged.keys() & keys.keys()):
            raise UserError(f"{path}: {twice} given in {paths[0]} too; keep one")
        merged |= keys
    with atomic_write(out) as stream:
        yaml.safe_dump(merged, stream, sort_keys=False)


def data_sources(folder: Path, dump: Path, shapes: Path) -> list[str]:
    """Name a data directory's files for ESPnet and write the lengths to batch by.

    Batches hold utterances of similar length: frames or samples of paired data, letters
    of text. Empty transcripts were refused in stage 1.
    """
    from spft.data.speech import find_speech
    from spft.data.table import read_table

    text = folder / "text"
    sources = [f"{text},text,text"]
    if speech := find_speech(folder, dump):
        sources.append(f"{speech.path},speech,{speech.kind}")
        lengths = speech.lengths
    else:
        lengths = {u: len(words) for u, words in read_table(text).items()}
    with atomic_write(shapes) as stream:
        stream.writelines(f"{u} {n}\n" for u, n in lengths.items())
    return sources


def finish(out: Path) -> None:
    """Turn the best epoch into ``model.safetensors``; remove all other weights."""
    import torch

    from spft.checkpoint import read_config, write_weights

    phase, figure, _ = read_config(out)["best_model_criterion"][0]
    best = out / f"{phase}.{figure}.best.pth"
    if not best.exists():
        raise UserError(f"{out}: no epoch was finished; see {out}/train.log")
    write_weights(out, torch.load(best, map_location="cpu", weights_only=True))
    for path in out.glob("*.pth"):
        path.unlink()


if __name__ == "__main__":
    run(main)

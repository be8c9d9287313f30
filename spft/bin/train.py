"""Train a stage: baseline, prompt or decoder, with ESPnet's trainer.

    python -m spft.bin.train --config conf/prompt.yaml --init exp/baseline \
        --train data/music_text/train --valid data/music_text/dev --out exp/music/prompt

A data directory with ``wav.scp`` is paired data, one without is text only. An interrupted
run goes on from its last epoch; a finished one is trained anew. What follows ``--`` goes
to ESPnet as it is (``-- --max_epoch 3 --ngpu 1``).
"""

import argparse
import logging
import shutil
import sys
from pathlib import Path

from spft.errors import UserError, run
from spft.files import atomic_write


def get_parser() -> argparse.ArgumentParser:
    """Build the command's parser."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="What follows -- goes to ESPnet as it is.",
    )
    parser.add_argument("--config", required=True, help="YAML of the stage")
    parser.add_argument("--train", required=True, type=Path, help="data directory")
    parser.add_argument("--valid", required=True, type=Path, help="data directory")
    parser.add_argument("--out", required=True, type=Path, help="experiment folder")
    parser.add_argument("--init", type=Path, help="experiment folder to start from")
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
    if not Path(args.config).exists():
        raise UserError(f"{args.config}: no such configuration")
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

    command = ["--config", args.config, "--output_dir", str(args.out)]
    command += ["--seed", str(args.seed), "--resume", "true", "--num_workers", "0"]
    if args.init:
        command += ["--init", str(args.init)]
    for name, folder in (("train", args.train), ("valid", args.valid)):
        shapes = args.out / "shapes" / f"{name}.txt"
        sources = data_sources(folder, args.dump, shapes)
        for source in sources:
            command += [f"--{name}_data_path_and_name_and_type", source]
        command += [f"--{name}_shape_file", str(shapes)]
    SpeechLLMTask.main(cmd=command + args.espnet)
    return "paired" if len(sources) == 2 else "text only"


def data_sources(folder: Path, dump: Path, shapes: Path) -> list[str]:
    """Name a data directory's files for ESPnet and write the lengths to batch by.

    Batches hold utterances of similar length: frames or samples of paired data, letters of
    text. Empty transcripts were refused in stage 1.
    """
    text = folder / "text"
    sources = [f"{text},text,text"]
    if not (folder / "wav.scp").exists():
        lines = (line.split(maxsplit=1) for line in text.open(encoding="utf-8"))
        lengths = {utterance: len(words) for utterance, words in lines}
    elif (dump / folder.name / "feats.scp").exists():
        sources.append(f"{dump / folder.name / 'feats.scp'},speech,kaldi_ark")
        table = (dump / folder.name / "utt2num_frames").open(encoding="utf-8")
        lengths = {u: int(n) for u, n in (line.split() for line in table)}
    else:
        import soundfile

        sources.append(f"{folder / 'wav.scp'},speech,sound")
        table = (folder / "wav.scp").open(encoding="utf-8")
        pairs = (line.strip().split(maxsplit=1) for line in table)
        lengths = {u: soundfile.info(path).frames for u, path in pairs}
    with atomic_write(shapes) as stream:
        stream.writelines(f"{u} {n}\n" for u, n in lengths.items())
    return sources


def log_to(path: Path) -> None:
    """Send ESPnet's log to a file; show its line per epoch on the terminal."""
    form = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    to_file = logging.FileHandler(path, encoding="utf-8")
    to_file.setFormatter(form)
    console = logging.StreamHandler()
    console.addFilter(lambda record: "epoch results" in record.getMessage())
    logging.basicConfig(level=logging.INFO, handlers=[to_file, console])


def finish(out: Path) -> None:
    """Turn the best epoch into ``model.safetensors``; remove what only resuming needs."""
    import torch

    from spft.checkpoint import write_weights

    best = out / "valid.loss.best.pth"
    if not best.exists():
        raise UserError(f"{out}: no epoch was finished; see {out}/train.log")
    write_weights(out, torch.load(best, map_location="cpu", weights_only=True))
    for path in out.glob("*.pth"):
        path.unlink()


if __name__ == "__main__":
    run(main)

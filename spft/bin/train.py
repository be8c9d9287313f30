"""Train a stage: baseline, prompt or decoder, with ESPnet's trainer.

    python -m spft.bin.train --config conf/prompt.yaml --init exp/baseline \
        --train data/music_text/train --valid data/music_text/dev --out exp/music/prompt

The architecture comes from ``--model`` (the first stage) or from the stages named by
``--init``, whose trained parts are put together. A data directory with ``wav.scp`` is
paired data, one without is text only. An interrupted run goes on from its last epoch,
if nothing that it is made of has changed; a finished one is trained anew. A long text
is read in parts, so that memory does not grow with it. What follows ``--`` goes to
ESPnet as it is (``-- --max_epoch 3 --ngpu 1``).

Several processes share each batch when a launcher starts them, one a GPU (``--ngpu 1``)
or, without one, of a thread or more:

    … --launcher "torchrun --standalone --nproc_per_node 4" -- --ngpu 1
"""

import argparse
import json
import re
import shlex
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from spft.errors import UserError, run
from spft.files import atomic_write, read_yaml
from spft.log import log_to
from spft.train.config import check_criterion, check_engine, check_stage, figure_names
from spft.train.settings import check_settings, collect_settings

if TYPE_CHECKING:
    from spft.data.speech import SpeechSource


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
    parser.add_argument(
        "--resume",
        action="store_true",
        help="leave a finished stage as it is, if it is of these settings",
    )
    parser.add_argument(
        "--part_size",
        type=int,
        default=100_000,
        help="sentences of text-only data held in memory at once (default %(default)s)",
    )
    parser.add_argument(
        "--launcher", help='starts several processes, e.g. "torchrun …" or "srun …"'
    )
    parser.add_argument("espnet", nargs="*", help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Run the command."""
    import yaml

    args = get_parser().parse_args()
    for folder in (args.train, args.valid):
        if not (folder / "text").exists():
            raise UserError(f"{folder}/text: not found; run stage 1 first")
    if args.out.resolve() in [Path(folder).resolve() for folder in args.init]:
        raise UserError(f"--out {args.out} is also in --init; write to another folder")
    stage = merge_yaml([args.model, args.config] if args.model else [args.config])
    if stage.setdefault("keep_nbest_models", 1) not in (1, [1]):
        raise UserError(
            f"{args.config}: keep_nbest_models: epochs are not averaged, the best one "
            "is kept; leave it out"
        )
    stage.setdefault("best_model_criterion", [["valid", "loss", "min"]])
    settings = collect_settings(args, stage)
    finished = (args.out / "model.safetensors").exists()
    if args.resume and finished:
        check_settings(args.out, settings)
        print(f"finished already: {args.out}", file=sys.stderr)
        return
    from spft.train.result import finish, repair, replaced

    with replaced(args.out):
        if interrupted := (args.out / "checkpoint.pth").exists():
            check_settings(args.out, settings)
            interrupted = repair(args.out, stage["best_model_criterion"][0])
        if not interrupted:
            (args.out / "train.log").unlink(missing_ok=True)  # of one that failed
        args.out.mkdir(parents=True, exist_ok=True)
        log_to(args.out / "train.log")
        with atomic_write(args.out / "settings.json") as stream:
            json.dump(settings, stream, indent=1)
        with atomic_write(args.out / "stage.yaml") as stream:
            yaml.safe_dump(stage, stream, sort_keys=False)
        train(args, stage)
        finish(args.out)
    print(f"{args.out}: trained", file=sys.stderr)


def train(args: argparse.Namespace, stage: dict) -> None:
    """Call ESPnet's trainer."""
    from spft.checkpoint import read_config
    from spft.data.speech import find_speech
    from spft.encoder.encoders import longest_speech
    from spft.train.task import SpeechLLMTask

    data = {"train": args.train, "valid": args.valid}
    speech = {name: find_speech(folder, args.dump) for name, folder in data.items()}
    parser = SpeechLLMTask.get_parser()
    check_stage(stage, parser, args.config)
    check_criterion(stage, figure_names(stage, speech, args.init), args.config)
    # ESPnet reads options as YAML 1.1 does, to which 1e-3 is a word, 1.0e-03 a number.
    power = re.compile(r"(?<==)\d+(\.\d*)?e[-+]?\d+$", re.I)
    espnet = [power.sub(lambda m: f"{float(m[0]):e}", o) for o in args.espnet]
    command = ["--config", str(args.out / "stage.yaml")]
    longest = None
    if speech["train"] and speech["train"].kind == "sound":
        model = vars(parser.parse_args(command + espnet))
        if args.init:
            model = read_config(args.init[0])
        longest = longest_speech(model["encoder"], model["encoder_conf"])
    command += ["--output_dir", str(args.out)]
    command += ["--seed", str(args.seed), "--resume", "true"]
    command += ["--num_workers", str(stage.get("num_workers", 0))]
    if args.init:
        command += ["--init", *args.init]
    for name, folder in data.items():
        part_size = args.part_size if name == "train" else None
        command += data_options(
            name, folder, speech[name], args.out, longest, part_size
        )
    command += espnet
    options = parser.parse_args(command)
    check_engine(options, args.launcher)
    inherited = {read_config(folder).get("adapt") for folder in args.init}
    if not speech["train"] and not options.adapt and "soft_prompt" not in inherited:
        raise UserError(
            f"{args.config}: adapt: not given; text alone needs an adaptation method "
            "(… -- --adapt no_prompt)"
        )
    if args.launcher:
        command += [] if options.ngpu else ["--dist_backend", "gloo"]
        launch(shlex.split(args.launcher), command)
    else:
        SpeechLLMTask.main(cmd=command)


def data_options(
    name: str,
    folder: Path,
    speech: "SpeechSource | None",
    out: Path,
    longest: int | None,
    part_size: int | None,
) -> list[str]:
    """ESPnet's options for one data set; writes the lengths to batch it by.

    Args:
        name: train or valid.
        folder: its data directory.
        speech: of it; None: text only.
        out: experiment folder.
        longest: samples that the encoder hears; None: any number.
        part_size: sentences of text that are held in memory at once; None: all.
    """
    text, shapes = folder / "text", out / "shapes" / f"{name}.txt"
    sentences = write_lengths(text, speech, shapes, longest)
    sources, options = [], []
    if speech:
        if speech.kind == "sound":
            check_16khz_mono(folder / "wav.scp")
        sources.append(f"{speech.path},speech,{speech.kind}")
        if speech.first_pass:
            sources.append(f"{speech.first_pass},first_pass,text")
    elif part_size and sentences > part_size:
        parts = -(-sentences // part_size)
        text = deal(text, out / "parts" / "text", parts)
        shapes = deal(shapes, out / "parts" / "shapes", parts)
        options += ["--multiple_iterator", "true"]
    for source in [*sources, f"{text},text,text"]:
        options += [f"--{name}_data_path_and_name_and_type", source]
    return [*options, f"--{name}_shape_file", str(shapes)]


def launch(launcher: list[str], command: list[str]) -> None:
    """Train in the processes that ``launcher`` starts, as torchrun does."""
    command += ["--multiprocessing_distributed", "false"]
    # The baseline's CTC part, for one, leaves the projector's residual out of its loss.
    command += ["--unused_parameters", "true"]
    try:
        process = subprocess.Popen([*launcher, "-m", "spft.train.worker", *command])
    except FileNotFoundError:
        raise UserError(f"--launcher: no command {launcher[0]!r}") from None
    try:
        process.wait()
    except BaseException:
        process.terminate()  # killed, it could not end its workers
        process.wait()
        raise
    if process.returncode:
        raise UserError(f"{launcher[0]} ended with {process.returncode}; see above")


def check_16khz_mono(table: Path) -> None:
    """Raise UserError unless all audio is 16 kHz and mono: training reads it raw.

    Args:
        table: a ``wav.scp``.
    """
    from spft.data.audio import SAMPLE_RATE, header
    from spft.data.table import read_table

    paths = read_table(table)
    for utterance, path in paths.items():
        info = header(path)
        if (info.samplerate, info.channels) != (SAMPLE_RATE, 1):
            raise UserError(
                f"{paths.where(utterance)}: {path} has {info.samplerate} Hz and "
                f"{info.channels} channels; training reads {SAMPLE_RATE} Hz mono: "
                "convert it (sox, ffmpeg)"
            )


def merge_yaml(paths: list[str]) -> dict:
    """The keys of several YAML files; a key given twice is an error."""
    merged: dict = {}
    for path in paths:
        keys = read_yaml(path)
        if twice := sorted(merged.keys() & keys.keys()):
            raise UserError(f"{path}: {twice} given in {paths[0]} too; keep one")
        merged |= keys
    return merged


def write_lengths(
    text: Path, speech: "SpeechSource | None", out: Path, longest: int | None = None
) -> int:
    """Write the lengths to batch by; return how many utterances there are.

    Batches hold utterances of similar length: frames or samples of paired data, letters
    of text. Empty transcripts were refused in stage 1. Speech of more than ``longest``
    samples is left out: its end would be unheard, but in the transcript.

    Raises:
        UserError: nothing is left.
    """
    count = left_out = 0
    with open(text, encoding="utf-8") as lines, atomic_write(out) as stream:
        rows = (line.strip().split(maxsplit=1) for line in lines)
        lengths = ((utterance, len(words)) for utterance, words in rows)
        for utterance, length in speech.lengths.items() if speech else lengths:
            if speech and longest and length > longest:
                left_out += 1
                continue
            stream.write(f"{utterance} {length}\n")
            count += 1
        if left_out:
            print(
                f"{text.parent}: {left_out} utterances left out, of more than the "
                f"{longest} samples that the encoder hears",
                file=sys.stderr,
            )
        if not count:
            raise UserError(f"{text.parent}: no utterance is left to train on")
    return count


def deal(path: Path, folder: Path, parts: int) -> Path:
    """Deal a file's lines out to ``parts`` files, as ``--multiple_iterator`` reads."""
    with ExitStack() as stack, open(path, encoding="utf-8") as lines:
        streams = [
            stack.enter_context(atomic_write(folder / f"split.{i}"))
            for i in range(parts)
        ]
        for number, line in enumerate(lines):
            streams[number % parts].write(line)
    with atomic_write(folder / "num_splits") as stream:
        stream.write(str(parts))
    return folder


if __name__ == "__main__":
    run(main)

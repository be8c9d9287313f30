"""What a decode leaves on disk: hypotheses, n-best lists, how they were made."""

import argparse
import functools
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from spft.data.audio import duration
from spft.data.features import audio_stamp
from spft.data.normalize import normalize
from spft.data.speech import SpeechSource, find_speech
from spft.data.table import read_table
from spft.errors import UserError
from spft.files import atomic_write, sha256
from spft.search.config import DecodeConfig
from spft.search.hypothesis import Hypothesis

if TYPE_CHECKING:
    from spft.llm import LLM

REPORT = "decode.json"
TAGS = ("plain", "lm", "second")  # of decodes, in the order in which they are made


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the commands that decode have in common."""
    add = parser.add_argument
    add("--systems", required=True, nargs="+", help="NAME=FOLDER of trained stages")
    add("--data", required=True, type=Path, nargs="+", help="data directories")
    add("--out", required=True, type=Path, help="folder of decodes")
    add("--config", help="YAML of the search; default: its built-in values")
    add("--dump", type=Path, default=Path("dump"), help="features of stage 2")
    add("--lm", type=Path, help="external LM")
    add("--ngram", type=Path, help="external n-gram")
    add("--resume", action="store_true", help="leave what is of the same things")
    add("--only", type=int, help="of the systems only the N-th, from 1")
    add("--keep_prompt", action="store_true", help="keep the prompt before the audio")


def read_options(args: argparse.Namespace) -> tuple[DecodeConfig, dict[str, Path]]:
    """The search's configuration and the external LMs' folders, by name."""
    config = DecodeConfig.read(args.config)
    if args.keep_prompt:
        config = replace(config, keep_prompt=True)
    return config, {k: v for k, v in (("lm", args.lm), ("ngram", args.ngram)) if v}


def find_systems(words: Iterable[str], only: int | None) -> list[tuple[str, Path]]:
    """Names and folders of systems.

    Args:
        words: ``NAME=FOLDER`` of each.
        only: the so-many-th alone, from 1; None: all.

    Raises:
        UserError: there are not so many, or one was not trained.
    """
    systems = []
    for word in words:
        name, _, path = word.partition("=")
        if not (name and path):
            raise UserError(f"--systems: NAME=FOLDER, not {word!r}")
        if name in dict(systems):
            raise UserError(f"--systems: two are called {name!r}")
        systems.append((name, Path(path)))
    if only is not None:
        if not 1 <= only <= len(systems):
            raise UserError(f"--only {only}: there are {len(systems)} systems")
        systems = [systems[only - 1]]
    for _, folder in systems:
        if not (folder / "model.safetensors").exists():
            raise UserError(f"{folder}: no trained model; run stages 3 to 5 first")
    return systems


def find_sets(folders: Iterable[Path], dump: Path) -> dict[Path, SpeechSource]:
    """The speech of data directories.

    One source serves all systems: it keeps the first pass's scores of texts, a quarter
    of a search's cost. So in the reports the searches after the first, those with LMs
    and of other systems, look faster than they are.

    Raises:
        UserError: two of one name, or one without audio.
    """
    folders = list(folders)
    if len({folder.name for folder in folders}) < len(folders):
        raise UserError("two data sets of one name; their features and results, which "
                        "go by it, would be mixed up")  # fmt: skip
    for folder in folders:
        if not (folder / "wav.scp").exists():
            raise UserError(f"{folder}/wav.scp: not found; run stage 1 first")
        if not audio_seconds(folder):  # now: after hours of decoding it would be a pity
            raise UserError(f"{folder}/wav.scp: lists no audio; run stage 1 again")
    return {folder: find_speech(folder, dump) for folder in folders}


def checksums(
    model: Path,
    external: Mapping[str, Path],
    sets: Iterable[Path],
    dump: Path,
    others: Iterable[Path] = (),
) -> dict[str, str]:
    """sha256 of what a decode is made of, by path; a data directory's is of its audio.

    Args:
        model: folder of the system.
        external: folders of ``lm`` and ``ngram``.
        sets: data directories that are decoded.
        dump: of their features.
        others: more files.
    """
    from spft.search.neural_lm import CHECKPOINTS

    digests = {}
    files = [model / "model.safetensors", *others]
    if "lm" in external:
        files += [external["lm"] / name for name in CHECKPOINTS]
    if "ngram" in external:
        files.append(external["ngram"] / "ngram.arpa")
    for folder in sets:
        frames = dump / folder.name
        # The last stands for the audio files, of which the list may be as before.
        names = ("first_pass", "first_pass_written", ".done")
        files += [folder / "wav.scp", *(frames / name for name in names)]
        if not (frames / ".done").exists():  # the model reads them themselves
            digests[str(folder)] = audio_stamp(folder / "wav.scp")
    return digests | {str(path): sha256(path) for path in files if path.exists()}


def is_finished(out: Path, made_of: dict, resume: bool) -> bool:
    """Whether ``--resume`` leaves the decode ``out``, made of the same, or more."""
    from spft.search.neural_lm import CHECKPOINTS

    if not resume or not (out / REPORT).exists():
        return False
    found = read_report(out)
    files = found.get("sha256", {})
    same = made_of | {"sha256": files}
    lms = {*CHECKPOINTS, "ngram.arpa"}
    more = {Path(path).name for path in files.keys() - made_of["sha256"].keys()}
    return (
        made_of["sha256"].items() <= files.items()
        and same.items() <= found.items()
        and not more & lms
    )


def read_report(out: Path) -> dict:
    """How the decode ``out`` was made.

    Raises:
        UserError: there is none.
    """
    if not (out / REPORT).exists():
        raise UserError(f"{out / REPORT}: not found; run spft.bin.decode first")
    return json.loads((out / REPORT).read_text(encoding="utf-8"))


def write_report(out: Path, report: dict) -> None:
    """Write how the decode ``out`` was made; the last of its files."""
    with atomic_write(out / REPORT) as stream:
        json.dump(report, stream, indent=2)


def forget_report(out: Path) -> None:
    """Take the decode ``out`` for unfinished until :func:`write_report`."""
    (out / REPORT).unlink(missing_ok=True)


def write_results(
    out: Path, results: Mapping[str, list[Hypothesis]], llm: "LLM"
) -> None:
    """Write the best hypotheses as Kaldi ``text`` and all as ``nbest.jsonl``.

    Scores of earlier ones are removed, with their reports.

    Args:
        out: folder of a set.
        results: n-best lists by utterance.
        llm: whose tokens they are of.
    """
    (out / "score.json").unlink(missing_ok=True)
    for report in ("score_wer", "score_entity"):
        shutil.rmtree(out / report, ignore_errors=True)
    with atomic_write(out / "text") as stream:
        for utterance, nbest in sorted(results.items()):
            text = normalize(llm.decode(nbest[0].tokens)) if nbest else ""
            stream.write(f"{utterance} {text}".rstrip() + "\n")
    with atomic_write(out / "nbest.jsonl") as stream:
        for utterance in sorted(results):
            for rank, hypothesis in enumerate(results[utterance], 1):
                row = {"utt": utterance, "rank": rank}
                row |= {"text": llm.decode(hypothesis.tokens)} | vars(hypothesis)
                stream.write(json.dumps(row) + "\n")


def read_results(out: Path, speech: SpeechSource) -> dict[str, list[Hypothesis]]:
    """N-best lists that :func:`write_results` wrote.

    Args:
        out: folder of the set.
        speech: of the set.

    Raises:
        UserError: there are none, or they are of other utterances.
    """
    path = out / "nbest.jsonl"
    if not path.exists():
        raise UserError(f"{path}: not found; run spft.bin.decode first")
    results: dict[str, list[Hypothesis]] = {
        utterance: [] for utterance in speech.lengths
    }
    with open(path, encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if row["utt"] not in results:
                raise UserError(
                    f"{path}: {row['utt']!r} is not in the set; decode again"
                )
            names = ("tokens", "score", "parts", "truncated")
            results[row["utt"]].append(Hypothesis(*(row[name] for name in names)))
    return results


@functools.cache
def audio_seconds(folder: Path) -> float:
    """How much audio a data directory lists.

    Raises:
        UserError: a file is missing or no audio.
    """
    return sum(duration(path) for path in read_table(folder / "wav.scp").values())


def timing(
    folder: Path, results: Mapping[str, list], seconds: float
) -> dict[str, float]:
    """How long it took to decode ``folder``, and how much that was."""
    audio = audio_seconds(folder)
    tokens = sum(len(nbest[0].tokens) for nbest in results.values() if nbest)
    found = {"seconds": round(seconds, 2), "audio_seconds": round(audio, 2)}
    return found | {"rtf": round(seconds / audio, 4), "tokens": tokens}

"""Test audio: python -m spft.bin.synthesize --corpus egs2/music/asr1/downloads.

Reads the lines of every ``*.jsonl`` there that have a ``speaker`` and a ``rate`` and
writes ``audio/<id>.ogg`` (of ``spoken``, where ``text`` is not what a voice should
read). With ``--text data/x/text --out data/x_tts`` it makes a Kaldi data directory out
of text instead, with a voice and a rate drawn for each utterance. What is there and
unchanged is not made again, so a stopped run can be resumed.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from subprocess import CalledProcessError
from threading import Thread

import numpy as np

from spft import synth
from spft.data.entities import check_span, read_entities
from spft.data.kaldi import write_data_dir
from spft.data.normalize import normalize, spell_out
from spft.data.table import read_table
from spft.data.utterance import Utterance
from spft.errors import UserError, run
from spft.files import atomic_write

MANIFEST = "manifest.jsonl"
_STATE = ()  # of a worker process: engine, folder, conditions


@dataclass(frozen=True)
class Reading:
    """What is to be spoken, by which voice, how fast, and where that is written.

    ``spoken`` is what the voice says instead of ``text``, if anything.
    """

    id: str
    text: str
    speaker: str
    rate: float
    origin: str  # file:line
    spoken: str | None = None


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--corpus", type=Path, help="folder of *.jsonl files")
    source.add_argument("--text", type=Path, help="Kaldi text file")
    parser.add_argument("--out", type=Path, help="Kaldi directory to write (--text)")
    parser.add_argument(
        "--sets", nargs="+", help="only these jsonl files of the corpus, e.g. dev test"
    )
    parser.add_argument(
        "--voices", nargs="+", help="voices to draw from with --text (default: all)"
    )
    conditions = synth.Conditions()
    for name, unit in (("snr", "dB"), ("reverb", "seconds"), ("peak", "dB")):
        parser.add_argument(
            f"--{name}",
            nargs=2,
            type=float,
            default=getattr(conditions, name),
            metavar=("LOW", "HIGH"),
            help=f"range drawn from for each utterance, {unit} (default %(default)s)",
        )
    parser.add_argument(
        "--room", type=float, default=conditions.room, help="share with reverberation"
    )
    parser.add_argument(
        "--engine", choices=("kokoro", "flite"), default="kokoro", help="synthesiser"
    )
    parser.add_argument("--model", default="kokoro", help="Kokoro's name or folder")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--threads", type=int, default=1, help="threads of a process")
    return parser


def main() -> None:
    """Read what is to be spoken, speak what is missing, write the lists."""
    args = get_parser().parse_args()
    if args.text and not args.out:
        raise UserError("--text needs --out, the Kaldi directory to write")
    if args.engine == "flite":
        engine = synth.FliteEngine()
    else:
        engine = synth.KokoroEngine(args.model, args.threads)
    entities = {}
    if args.corpus:
        utterances = list(read_corpus(args.corpus, args.sets))
    else:
        utterances = list(read_text(args.text, args.voices or engine.voices))
        if (beside := args.text.parent / "entities").exists():
            entities = read_entities(beside)
            for u in utterances:
                for entity in entities.get(u.id, ()):
                    check_span(entity, u.text, u.origin)
    check(utterances, engine.voices)
    conditions = synth.Conditions(
        snr=tuple(args.snr),
        room=args.room,
        reverb=tuple(args.reverb),
        peak=tuple(args.peak),
    )
    audio = (args.corpus or args.out) / "audio"
    made = synthesize(utterances, audio, engine, conditions, args.jobs)
    if args.text:
        write_data_dir(
            args.out,
            [
                Utterance(
                    u.id,
                    u.text,
                    u.speaker,
                    audio / f"{u.id}.ogg",
                    tuple(entities[u.id]) if u.id in entities else None,
                    u.spoken,
                )
                for u in utterances
            ],
        )
    print(f"{audio}: {made} made, {len(utterances) - made} already there")


def read_corpus(folder: Path, sets: list[str] | None = None) -> Iterator[Reading]:
    """Yield the utterances with a speaker in ``folder/*.jsonl``."""
    names = [f"{s}.jsonl" for s in sets] if sets else ["*.jsonl"]
    files = sorted(p for name in names for p in folder.glob(name))
    if len(files) < len(names):
        raise UserError(f"{folder}: no {' or '.join(names)} there; check the path")
    for path in files:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            origin = f"{path}:{number}"
            try:
                row = json.loads(line)
                if "speaker" in row and "rate" in row:
                    yield _reading(row, origin)
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(
                    f'{origin}: {error!r}; expected {{"id": …, "text": …, "speaker": '
                    '…, "rate": …}'
                ) from error


def _reading(row: dict, origin: str) -> Reading:
    words = row["id"], row["text"], row["speaker"]
    if not all(isinstance(word, str) for word in words):
        raise TypeError("id, text and speaker must be strings")
    rate, spoken = float(row["rate"]), row.get("spoken")
    return Reading(*words, rate=rate, origin=origin, spoken=spoken)


def read_text(path: Path, voices: Iterable[str]) -> Iterator[Reading]:
    """Yield the utterances of a Kaldi ``text``, voice and rate drawn from the id.

    A table ``spoken`` beside it says what is read instead of the text of some of them.
    Text is normalised; its words in capitals are read by letters.
    """
    voices = list(voices)
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a Kaldi text file")
    beside = path.parent / "spoken"
    spoken = read_table(beside) if beside.exists() else {}
    texts = read_table(path, allow_empty=True, check_sorted=False)
    for utterance, text in texts.items():
        rng = np.random.default_rng(int(synth.digest("voice", utterance), 16))
        voice, rate = rng.choice(voices), round(float(rng.uniform(0.9, 1.15)), 2)
        normal = normalize(text)
        yield Reading(
            id=utterance,
            text=normal,
            speaker=str(voice),
            rate=rate,
            origin=texts.where(utterance),
            spoken=spoken.get(utterance, spell_out(text, normal)),
        )


def check(utterances: list[Reading], voices: tuple[str, ...]) -> None:
    """Raise UserError if an utterance cannot be spoken or saved."""
    seen: dict[str, str] = {}
    for u in utterances:
        if not u.text.strip():
            raise UserError(f"{u.origin}: no text; remove the line")
        if u.speaker not in voices:
            raise UserError(
                f"{u.origin}: no voice {u.speaker}; there are {' '.join(voices)}"
            )
        if not 0.5 <= u.rate <= 2.0:
            raise UserError(f"{u.origin}: rate {u.rate}; must be between 0.5 and 2")
        key = u.id.casefold()  # sclite does not tell apart what differs by case alone
        if key in seen or "/" in u.id:
            why = f"is also in {seen[key]}" if key in seen else "has a slash"
            raise UserError(f"{u.origin}: id {u.id} {why}; rename it")
        seen[key] = u.origin


def synthesize(
    utterances: list[Reading],
    folder: Path,
    engine: synth.Engine,
    conditions: synth.Conditions,
    jobs: int = 1,
) -> int:
    """Write ``folder/<id>.ogg`` where it is missing or made of other input.

    The manifest in ``folder`` holds what each file was made of.

    Returns:
        How many files were made.
    """
    from tqdm import tqdm

    keys = {
        u.id: synth.digest(u.id, u.spoken or u.text, u.speaker, u.rate, engine.name)
        + synth.digest(asdict(conditions))
        for u in utterances
    }
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / MANIFEST
    known = read_manifest(manifest)
    todo = [
        u
        for u in utterances
        if known.get(u.id) != keys[u.id] or not (folder / f"{u.id}.ogg").exists()
    ]
    # Each file is noted when it is made, so that a killed run can be resumed.
    with (
        open(manifest, "a", encoding="utf-8") as notes,
        _speakers(engine, folder, conditions, jobs) as speak,
    ):
        for done in tqdm(speak(todo), total=len(todo), desc="synthesis", unit="utt"):
            known[done] = keys[done]
            notes.write(json.dumps({"id": done, "key": keys[done]}) + "\n")
            notes.flush()
    with atomic_write(manifest) as stream:
        for name in sorted(known):
            print(json.dumps({"id": name, "key": known[name]}), file=stream)
    if stray := sorted({p.stem for p in folder.glob("*.ogg")} - known.keys()):
        print(f"{folder}: of unknown origin: {' '.join(stray[:5])}", file=sys.stderr)
    return len(todo)


def read_manifest(path: Path) -> dict[str, str]:
    """What each file was made of, by id; half a line at the end is left out."""
    known = {}
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        with suppress(ValueError, KeyError):
            row = json.loads(line)
            known[row["id"]] = row["key"]
    return known


@contextmanager
def _speakers(engine, folder: Path, conditions: synth.Conditions, jobs: int):
    """Yield a function that speaks utterances, in this process or in ``jobs``."""
    state = (engine, folder, conditions)
    if jobs == 1:
        yield lambda todo: (_speak(*state, u) for u in todo)
        return
    context = get_context("spawn")  # onnxruntime's threads do not survive a fork
    with ProcessPoolExecutor(jobs, context, _remember, state) as pool:
        try:
            yield lambda todo: pool.map(_speak_remembered, todo)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _remember(*state: object) -> None:
    global _STATE
    _STATE = state
    # A killed parent cannot end its workers.
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent_process().join()
    os._exit(1)


def _speak_remembered(utterance: Reading) -> str:
    return _speak(*_STATE, utterance)


def _speak(engine, folder: Path, conditions: synth.Conditions, u: Reading) -> str:
    """Make one file and return its id."""
    try:
        wave = engine.synthesize(u.spoken or u.text, u.speaker, u.rate)
        wave = synth.record(wave, engine.sample_rate, u.id, conditions)
    except (ValueError, UserError, CalledProcessError) as error:
        raise UserError(f"{u.origin}: '{u.text}': {error}; reword it") from error
    synth.write_opus(folder / f"{u.id}.ogg", wave)
    return u.id


if __name__ == "__main__":
    run(main)

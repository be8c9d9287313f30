"""Transcribe audio with a pack of stage 9, or with a trained stage.

    python -m spft.bin.transcribe --model music.zip --domain music a.wav recordings/

Takes files, folders and, with ``-``, a list of files from stdin. A recording longer
than ``--longest`` seconds is cut at its pauses. ``--names`` gives names that the
domain's text lacks, such as a list of contacts; nothing is trained for them. The text
goes to stdout, as lines of ``file<TAB>text``, as JSON lines or as subtitles; with
``--out`` into a folder, one file for each recording.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from spft.data.corpora.files import AUDIO_SUFFIXES, files_in
from spft.errors import UserError, run
from spft.files import atomic_write

FORMATS = {"text": ".txt", "json": ".json", "srt": ".srt"}


def get_parser() -> argparse.ArgumentParser:
    """Build the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("audio", nargs="+", help="files, folders, or - for a list on stdin")
    add("--model", required=True, type=Path, help="pack, or folder of a trained stage")
    add("--domain", help="of the pack; several, with commas between: each in turn")
    add("--names", type=Path, help="more names to look for, one a line")
    add("--format", choices=FORMATS, default="text")
    add("--out", type=Path, help="folder to write, instead of stdout")
    add("--nbest", type=positive, default=1, help="hypotheses in JSON (default 1)")
    add("--beam", type=positive, help="default: as packed")
    add("--batch_size", type=positive, help="stretches at once; default: as packed")
    add("--longest", type=positive, default=20, help="seconds (default 20)")
    return parser


def positive(text: str) -> int:
    """A whole number from 1, for argparse."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def main() -> None:
    """Run the command."""
    args = get_parser().parse_args()
    if args.nbest > 1 and args.format != "json":
        raise UserError("--nbest: add --format json, which has room for them")
    recordings = list(find_audio(args.audio))
    if args.out:
        check_names(recordings)
    search = {"beam": args.beam, "batch_size": args.batch_size}

    from spft.data.own_domain import read_lexicon
    from spft.pack import open_pack
    from spft.speech2text import Speech2Text

    if args.out and args.out.exists() and not args.out.is_dir():
        raise UserError(f"--out {args.out}: a file; give a folder")
    names = [name for name, _ in read_lexicon(args.names)] if args.names else []
    pack = open_pack(args.model)
    domains = args.domain.split(",") if args.domain else [next(iter(pack.domains))]
    for domain in domains:
        chosen = pack.find(domain)  # before hours of the others
        if names and not chosen.phrases:
            raise UserError(f"--names: domain {domain!r} has no second pass")
    several = len(domains) > 1
    if args.out and not several:
        keep_transcripts(recordings, args.out, FORMATS[args.format])
    asr = Speech2Text(
        pack, domains[0], **{key: value for key, value in search.items() if value}
    )
    if args.nbest > 1 and args.nbest > (beam := asr.recognizer.config.beam):
        raise UserError(f"--nbest {args.nbest}: the search keeps {beam}; add --beam")
    failed: list[str] = []
    for domain in domains:
        asr.use(domain)
        if names:
            asr.add_names(names)
        for recording in recordings:
            result = {"audio": recording, "domain": domain}
            try:
                result |= transcribe(asr, recording, args.longest, args.nbest)
            except UserError as error:  # the others are done all the same
                failed.append(recording)
                print(f"error: {error}", file=sys.stderr)
                continue
            write(result, args.format, args.out, domain if several else None)
    if failed:
        raise UserError(
            f"{len(set(failed))} of {len(recordings)} recordings failed, above"
        )


def check_names(recordings: list[str]) -> None:
    """Raise UserError if two recordings would be written to one file."""
    known: dict[str, Path] = {}
    for path in map(Path, recordings):
        if (other := known.setdefault(path.stem, path)) != path:
            raise UserError(
                f"{path}: {other} has that name too, and --out makes one file a name; "
                "transcribe them in two calls, or rename one"
            )


def keep_transcripts(recordings: list[str], out: Path, suffix: str) -> None:
    """Raise UserError if what stands beside a recording would be overwritten."""
    for path in map(Path, recordings):
        theirs = path.with_suffix(suffix)
        if theirs.exists() and out.resolve() == path.parent.resolve():
            raise UserError(
                f"{theirs}: is there already, and may be what was said; give another "
                "--out"
            )


def find_audio(names: Iterable[str]) -> Iterator[str]:
    """The files that ``names`` stand for; a file's own name is left as it is given.

    Raises:
        UserError: one does not exist, or a folder holds no audio.
    """
    for name in names:
        path = Path(name)
        if name == "-":
            lines = sys.stdin.read().splitlines()
            yield from find_audio(line for line in lines if line.strip())
        elif path.is_dir():
            files = files_in(path)
            audio = [p for p in files if p.suffix.lower() in AUDIO_SUFFIXES]
            known = " ".join(AUDIO_SUFFIXES)
            if not audio:
                raise UserError(f"{path}: no audio in this folder ({known})")
            if others := len(files) - len(audio):
                print(f"{path}: {others} other files are left out; audio is what ends "
                      f"in {known}", file=sys.stderr)  # fmt: skip
            yield from map(str, audio)
        elif path.exists():
            yield name
        else:
            raise UserError(f"{path}: no such file")


def transcribe(asr, recording: str, longest: float, nbest: int) -> dict:
    """Text and stretches of one recording."""
    from spft.data.audio import SAMPLE_RATE, read_audio
    from spft.vad import split

    waveform = read_audio(Path(recording))
    stretches = [(0, len(waveform))]
    if len(waveform) > longest * SAMPLE_RATE:
        stretches = split(waveform, longest)
    nbests = asr.recognise([waveform[start:end] for start, end in stretches])
    segments = []
    for (start, end), hypotheses in zip(stretches, nbests, strict=True):
        best = hypotheses[0] if hypotheses else None
        segment = {
            "start": round(start / SAMPLE_RATE, 2),
            "end": round(end / SAMPLE_RATE, 2),
            "text": best.text if best else "",
        }
        if nbest > 1:
            rows = hypotheses[:nbest]
            segment["nbest"] = [
                {"text": h.text, "score": round(h.score, 3)} for h in rows
            ]
        elif best:
            segment["score"] = round(best.score, 3)
        segments.append(segment)
    text = " ".join(segment["text"] for segment in segments if segment["text"])
    return {"text": text, "segments": segments}


def write(result: dict, kind: str, out: Path | None, domain: str | None) -> None:
    """Print a result, or write it into the folder ``out``."""
    if kind == "json":
        text = json.dumps(result, ensure_ascii=False)
    elif kind == "srt":
        text = subtitles(result["segments"])
    else:
        fields = [result["audio"], *([domain] if domain else []), result["text"]]
        text = result["text"] if out else "\t".join(fields)
    if out is None:
        print(text, flush=True)
        return
    name = Path(result["audio"]).stem + (f".{domain}" if domain else "")
    with atomic_write(out / f"{name}{FORMATS[kind]}") as stream:
        stream.write(text + "\n")


def subtitles(segments: list[dict]) -> str:
    """Segments in the SubRip format."""
    blocks = []
    spoken = (segment for segment in segments if segment["text"])
    for number, segment in enumerate(spoken, 1):
        times = " --> ".join(_clock(segment[key]) for key in ("start", "end"))
        blocks.append(f"{number}\n{times}\n{segment['text']}\n")
    return "\n".join(blocks)


def _clock(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02},{rest % 1000:03}"


if __name__ == "__main__":
    run(main)

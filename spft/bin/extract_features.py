"""Compute a frozen encoder's frames and its first pass once per utterance (stage 2).

    python -m spft.bin.extract_features --data data/music_test --dump dump

Writes ``dump/<set>/feats.{scp,ark}``, ``utt2num_frames`` and, by the pretrained decoder
that came with the encoder, ``first_pass``, normalised transcripts that a projector may
use, and ``first_pass_written``, the same as it wrote them. A set is skipped if neither
its list of audio files nor these have changed.

Large sets in shards, each a process of its own, then put together:

    tools/cmd.sh --shards 4 --log exp/log --command \
        'python -m spft.bin.extract_features --data data/music_test --shard $JOB/4'
    python -m spft.bin.extract_features --data data/music_test --merge 4
"""

import argparse
import shutil
import sys
from itertools import batched
from pathlib import Path

from spft.data.features import audio_stamp, combine_features
from spft.errors import UserError, run
from spft.files import atomic_write

BATCH = 32  # utterances that are encoded before the decoder transcribes them


def get_parser() -> argparse.ArgumentParser:
    """Build the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", required=True, type=Path, nargs="+", help="data directories"
    )
    parser.add_argument("--dump", type=Path, default=Path("dump"))
    parser.add_argument("--encoder", default="moonshine-base", help="name or path")
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--shard", help="J/N: only the J-th of N parts of each set")
    part.add_argument("--merge", type=int, help="put so many shards together")
    return parser


def main() -> None:
    """Run the command."""
    args = get_parser().parse_args()
    shard, shards = parse_shard(args.shard) if args.shard else (1, 1)
    encoder = None
    folders = list(dict.fromkeys(args.data))
    if len({folder.name for folder in folders}) < len(folders):
        raise UserError("--data: two directories of one name; rename one")
    for folder in folders:
        table = folder / "wav.scp"
        if not table.exists():
            raise UserError(f"{table}: not found; run stage 1 first")
        out = args.dump / folder.name
        if args.shard:
            out = args.dump / f"{folder.name}.{shard}of{shards}"
        stamp = audio_stamp(table, args.encoder)
        # The whole set needs no shards.
        if any(is_done(part, stamp) for part in (args.dump / folder.name, out)):
            continue
        if args.merge:
            merge(table, out, args.merge, stamp)
            continue
        if encoder is None:
            from spft.encoder.moonshine import Moonshine
            from spft.pretrained import resolve

            encoder = Moonshine(resolve(args.encoder))
        extract(table, out, encoder, shard, shards)
        with atomic_write(out / ".done") as stream:
            stream.write(stamp)


def is_done(out: Path, stamp: str) -> bool:
    """Whether ``out`` holds the features of what ``stamp`` stands for."""
    marker = out / ".done"
    whole = marker.exists() and (out / "first_pass_written").exists()
    return whole and marker.read_text() == stamp


def parse_shard(text: str) -> tuple[int, int]:
    """J and N of ``J/N``."""
    shard, _, shards = text.partition("/")
    if not (shard.isdecimal() and shards.isdecimal()):
        raise UserError(f"--shard: J/N, such as 2/4, not {text!r}")
    if not 1 <= int(shard) <= int(shards):
        raise UserError(
            f"--shard: {text} is not one of 1/{shards} to {shards}/{shards}"
        )
    return int(shard), int(shards)


def merge(table: Path, out: Path, shards: int, stamp: str) -> None:
    """Put the shards of a set together; the features stay where they are."""
    from spft.data.table import read_table

    parts = [
        out.with_name(f"{out.name}.{shard}of{shards}") for shard in range(1, shards + 1)
    ]
    for part in parts:
        marker = part / ".done"
        if not marker.exists() or marker.read_text() != stamp:
            raise UserError(
                f"{part}: not there, or of another list of audio files; run its shard"
            )
    combine_features(parts, out, read_table(table).keys())
    with atomic_write(out / ".done") as stream:
        stream.write(stamp)


def extract(table: Path, out: Path, encoder, shard: int = 1, shards: int = 1) -> None:
    """Encode a ``wav.scp``, or one of ``shards`` parts of it, into ``out``."""
    import kaldiio
    from tqdm import tqdm

    from spft.data.audio import LONG_SECONDS, SAMPLE_RATE, read_audio
    from spft.data.normalize import normalize
    from spft.data.table import read_table

    if out.exists():
        shutil.rmtree(out)  # of another list of files
    out.mkdir(parents=True)
    utterances = read_table(table)
    lengths, written, long = {}, {}, []
    # The index gets its name last: features without it count as not there.
    index, unfinished = out / "feats.scp", out / ".feats.scp.tmp"
    chosen = list(utterances)[shard - 1 :: shards]
    with (
        kaldiio.WriteHelper(f"ark,scp:{out / 'feats.ark'},{unfinished}") as writer,
        tqdm(total=len(chosen), desc=f"encoding {out.name}", unit="utt") as bar,
    ):
        for batch in batched(chosen, BATCH):
            rows = {}
            for utterance in batch:
                where = utterances.where(utterance)
                waveform = read_audio(utterances[utterance], where=where)
                if len(waveform) > LONG_SECONDS * SAMPLE_RATE:
                    long.append(utterance)
                rows[utterance] = encoder.encode(waveform)
                writer(utterance, rows[utterance])
                bar.update()
            lengths |= {utterance: len(frames) for utterance, frames in rows.items()}
            texts = encoder.transcribe(list(rows.values()))
            written |= zip(rows, texts, strict=True)
    for name, column in (
        ("utt2num_frames", lengths),
        ("first_pass", {u: normalize(text) for u, text in written.items()}),
        ("first_pass_written", written),
    ):
        with atomic_write(out / name) as stream:
            stream.writelines(f"{u} {x}".rstrip() + "\n" for u, x in column.items())
    unfinished.rename(index)
    if long:
        print(f"warning: {table}: {len(long)} utterances of over {LONG_SECONDS} s "
              f"({long[0]}, …), of which the encoder hears less; cut them at pauses",
              file=sys.stderr)  # fmt: skip


if __name__ == "__main__":
    run(main)

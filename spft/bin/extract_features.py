"""Compute a frozen encoder's frames and its first pass once per utterance (stage 2).

    python -m spft.bin.extract_features --data data/music_test --dump dump

Writes ``dump/<set>/feats.{scp,ark}``, ``utt2num_frames`` and, by the pretrained decoder
that came with the encoder, ``first_pass``: normalised transcripts that a projector may
use. A set whose list of audio files has not changed is skipped.
"""

import argparse
import hashlib
import os
import shutil
from itertools import batched
from pathlib import Path

from spft.errors import UserError, run
from spft.files import atomic_write

BATCH = 32  # utterances that the decoder transcribes at once


def get_parser() -> argparse.ArgumentParser:
    """Build the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", required=True, type=Path, nargs="+", help="data directories"
    )
    parser.add_argument("--dump", type=Path, default=Path("dump"))
    parser.add_argument("--encoder", default="moonshine-base", help="name or path")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    return parser


def main() -> None:
    """Run the command."""
    args = get_parser().parse_args()
    encoder = None
    for folder in args.data:
        table = folder / "wav.scp"
        if not table.exists():
            raise UserError(f"{table}: not found; run stage 1 first")
        out = args.dump / folder.name
        stamp = hashlib.sha256(args.encoder.encode() + table.read_bytes()).hexdigest()
        marker = out / ".done"
        whole = marker.exists() and (out / "first_pass").exists()
        if whole and marker.read_text() == stamp:
            continue
        if encoder is None:
            import torch

            from spft.encoder.moonshine import Moonshine
            from spft.pretrained import resolve

            torch.set_num_threads(args.threads)
            encoder = Moonshine(resolve(args.encoder))
        extract(table, out, encoder)
        with atomic_write(marker) as stream:
            stream.write(stamp)


def extract(table: Path, out: Path, encoder) -> None:
    """Encode the utterances of a ``wav.scp`` into ``out``."""
    import kaldiio
    from tqdm import tqdm

    from spft.data.audio import read_audio
    from spft.data.kaldi import read_table
    from spft.data.normalize import normalize

    if out.exists():
        shutil.rmtree(out)  # of another list of files
    out.mkdir(parents=True)
    utterances = read_table(table)
    lengths, first_pass = {}, {}
    # The index gets its name last: features without it count as not there.
    index, unfinished = out / "feats.scp", out / ".feats.scp.tmp"
    with (
        kaldiio.WriteHelper(f"ark,scp:{out / 'feats.ark'},{unfinished}") as writer,
        tqdm(total=len(utterances), desc=f"encoding {out.name}", unit="utt") as bar,
    ):
        for batch in batched(utterances, BATCH):
            rows = {}
            for utterance in batch:
                where = utterances.where(utterance)
                waveform = read_audio(utterances[utterance], where=where)
                rows[utterance] = encoder.encode(waveform)
                writer(utterance, rows[utterance])
                bar.update()
            lengths |= {utterance: len(frames) for utterance, frames in rows.items()}
            texts = map(normalize, encoder.transcribe(list(rows.values())))
            first_pass |= zip(rows, texts, strict=True)
    for name, column in (("utt2num_frames", lengths), ("first_pass", first_pass)):
        with atomic_write(out / name) as stream:
            stream.writelines(f"{u} {x}".rstrip() + "\n" for u, x in column.items())
    unfinished.rename(index)


if __name__ == "__main__":
    run(main)

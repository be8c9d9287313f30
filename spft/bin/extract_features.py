"""Compute a frozen encoder's frames once per utterance (stage 2).

    python -m spft.bin.extract_features --data data/music_test --dump dump

Writes ``dump/<set>/feats.{scp,ark}`` and ``utt2num_frames``. A set whose list of audio
files has not changed is skipped.
"""

import argparse
import hashlib
import os
import shutil
from pathlib import Path

from spft.errors import UserError, run
from spft.files import atomic_write


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
        if marker.exists() and marker.read_text() == stamp:
            continue
        if encoder is None:
            from spft.encoder.moonshine import MoonshineEncoder
            from spft.pretrained import resolve

            encoder = MoonshineEncoder(resolve(args.encoder), args.threads)
        extract(table, out, encoder)
        with atomic_write(marker) as stream:
            stream.write(stamp)


def extract(table: Path, out: Path, encoder) -> None:
    """Encode the utterances of a ``wav.scp`` into ``out``."""
    import kaldiio
    from tqdm import tqdm

    from spft.data.audio import read_audio
    from spft.data.kaldi import read_table

    if out.exists():
        shutil.rmtree(out)  # of another list of files
    out.mkdir(parents=True)
    utterances = read_table(table)
    lengths = {}
    # The index gets its name last: features without it count as not there.
    index, unfinished = out / "feats.scp", out / ".feats.scp.tmp"
    with kaldiio.WriteHelper(f"ark,scp:{out / 'feats.ark'},{unfinished}") as writer:
        for utterance, path in tqdm(utterances.items(), desc=f"encoding {out.name}"):
            frames = encoder(read_audio(path, where=utterances.where(utterance)))
            writer(utterance, frames)
            lengths[utterance] = len(frames)
    with atomic_write(out / "utt2num_frames") as stream:
        stream.writelines(f"{u} {n}\n" for u, n in lengths.items())
    unfinished.rename(index)


if __name__ == "__main__":
    run(main)

"""Speed perturbation of paired training data (ESPnet's ``speed_perturb_factors``).

    python -m spft.bin.perturb_speed --data data/librispeech_train --factors 0.9 1.0 1.1

Writes ``data/librispeech_train_sp``: every utterance at every factor, its id after
``sp<factor>-`` and its audio below ``wavs/``. Pitch moves with speed, so that each
factor is as good as another speaker (Ko et al., Interspeech 2015).
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from spft.errors import UserError, run


def get_parser() -> argparse.ArgumentParser:
    """Build the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, type=Path, help="data directory")
    parser.add_argument("--factors", type=float, nargs="+", default=[0.9, 1.0, 1.1])
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    return parser


def main() -> None:
    """Run the command."""
    args = get_parser().parse_args()
    if wrong := [factor for factor in args.factors if not 0.5 <= factor <= 2]:
        raise UserError(f"--factors {wrong}: a speed is between 0.5 and 2")
    from tqdm import tqdm

    from spft.data.kaldi import read_data_dir, write_data_dir

    out = args.data.with_name(f"{args.data.name}_sp")
    utterances = read_data_dir(args.data)
    perturbed, todo = [], []
    for utterance in utterances:
        for factor in sorted(set(args.factors)):
            if factor == 1:
                perturbed.append(utterance)
                continue
            name = f"sp{factor}-{utterance.id}"
            audio = (out / "wavs" / f"{name}.flac").absolute()
            made = audio.stat().st_mtime_ns if audio.exists() else 0
            if made < Path(utterance.audio).stat().st_mtime_ns:
                todo.append((utterance.audio, factor, audio))
            speaker = f"sp{factor}-{utterance.speaker}"
            perturbed.append(replace(utterance, id=name, speaker=speaker, audio=audio))
    with ProcessPoolExecutor(args.jobs) as pool:
        done = pool.map(change_speed, *zip(*todo, strict=True), chunksize=16)
        for _ in tqdm(done, desc=f"speed of {args.data.name}", total=len(todo)):
            pass
    write_data_dir(out, perturbed)
    print(f"{out}: {len(perturbed)} utterances")


def change_speed(source: Path, factor: float, target: Path) -> None:
    """Write ``source`` played ``factor`` times as fast."""
    import soundfile
    import soxr

    from spft.data.audio import SAMPLE_RATE, read_audio
    from spft.files import atomic_write

    samples = soxr.resample(read_audio(source), SAMPLE_RATE * factor, SAMPLE_RATE)
    with atomic_write(target, "wb") as stream:
        soundfile.write(stream, samples, SAMPLE_RATE, format="FLAC")


if __name__ == "__main__":
    run(main)

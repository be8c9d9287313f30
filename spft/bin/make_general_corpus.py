"""python -m spft.bin.make_general_corpus egs2/librispeech/asr1/downloads.

Makes ``train.jsonl``, ``dev.jsonl`` and ``test.jsonl`` from ``source/sentences.txt``,
one sentence a line, split in the order of the file. The three sets share no voice.
"""

import argparse
import json
import random
from pathlib import Path

from spft.errors import UserError, run
from spft.files import atomic_write

SIZES = {"train": 180, "dev": 40, "test": 100}
# Kokoro voices: a/b = US/GB, f/m = woman/man.
SPEAKERS = {
    "train": [
        "af_alloy",
        "af_jessica",
        "af_kore",
        "af_nova",
        "af_river",
        "am_adam",
        "am_eric",
        "am_onyx",
        "am_santa",
        "bf_alice",
        "bf_lily",
        "bm_daniel",
    ],
    "dev": ["af_sky", "am_michael", "bf_isabella", "bm_george"],
    "test": [
        "af_bella",
        "af_heart",
        "af_nicole",
        "af_sarah",
        "am_fenrir",
        "am_liam",
        "am_puck",
        "bf_emma",
        "bm_fable",
        "bm_lewis",
    ],
}
RATES = (0.85, 1.15)


def get_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path, help="folder that holds source/")
    return parser


def split_sentences(path: Path) -> dict[str, list[dict]]:
    """Rows of each set; UserError unless the file has enough distinct sentences."""
    from spft.data.normalize import normalize

    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if normalize(line) != line:
            raise UserError(f"{path}:{number}: not normalised text; respell {line!r}")
        if line in lines[: number - 1]:
            raise UserError(f"{path}:{number}: repeated sentence; change it")
    if len(lines) != sum(SIZES.values()):
        raise UserError(
            f"{path}:{len(lines)}: {len(lines)} sentences; {sum(SIZES.values())} needed"
        )
    rng, queue, rows = random.Random(1), iter(lines), {}
    for name, size in SIZES.items():
        rows[name] = []
        for i in range(1, size + 1):
            speaker = SPEAKERS[name][i % len(SPEAKERS[name])]
            rows[name].append(
                {
                    # Kaldi wants utterance ids to begin with the speaker.
                    "id": f"{speaker}-general-{name}-{i:04d}",
                    "text": next(queue),
                    "entities": [],
                    "speaker": speaker,
                    "rate": round(rng.uniform(*RATES), 2),
                }
            )
        rows[name].sort(key=lambda row: row["id"])
    return rows


def main() -> None:
    """Make the three files beside ``source/``."""
    args = get_parser().parse_args()
    source = args.corpus / "source" / "sentences.txt"
    if not source.is_file():
        raise UserError(f"{source}: no such file; put one sentence a line there")
    for name, rows in split_sentences(source).items():
        path = args.corpus / f"{name}.jsonl"
        with atomic_write(path) as stream:
            stream.writelines(json.dumps(row) + "\n" for row in rows)
        print(f"{path}: {len(rows)} sentences")


if __name__ == "__main__":
    run(main)

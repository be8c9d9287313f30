"""A soft prompt to start from that looks like audio: its mean embedding and noise.

    python -m spft.bin.audio_prompt --model exp/baseline --data data/general_dev \
        --length 30 --out exp/audio_prompt
    python -m spft.bin.train --config conf/prompt.yaml --init exp/audio_prompt …

Each vector is drawn from the normal distribution that has the mean and the deviation,
dimension by dimension, of the audio embeddings of the set's first utterances. The
folder is that of a stage, with the model's other weights.
"""

import argparse
from pathlib import Path

from spft.errors import UserError, run
from spft.files import atomic_write


def get_parser() -> argparse.ArgumentParser:
    """Build the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--model", required=True, type=Path, help="experiment folder")
    add("--data", required=True, type=Path, help="speech of no domain")
    add("--dump", type=Path, default=Path("dump"), help="features of stage 2")
    add("--length", required=True, type=int, help="number of vectors")
    add("--utterances", type=int, default=30, help="to look at (default %(default)s)")
    add("--seed", type=int, default=0)
    add("--out", required=True, type=Path, help="folder to write")
    return parser


def main() -> None:
    """Run the command."""
    args = get_parser().parse_args()
    if args.length < 1:
        raise UserError(f"--length must be at least 1, not {args.length}")
    import torch
    import yaml

    from spft.checkpoint import read_config, read_weights, write_weights
    from spft.data.speech import find_speech
    from spft.recognizer import Recognizer
    from spft.search.config import DecodeConfig

    speech = find_speech(args.data, args.dump)
    if speech is None:
        raise UserError(f"{args.data}/wav.scp: not found; run stage 1 first")
    recognizer = Recognizer(args.model, DecodeConfig(), {})
    names = sorted(speech.lengths)[: args.utterances]
    prefixes = recognizer.prefixes(speech, names)
    audio = torch.cat([prefix.embeds[0] for prefix in prefixes]).float()
    torch.manual_seed(args.seed)
    noise = torch.randn(args.length, audio.shape[1])
    embeds = audio.mean(0).cpu() + noise * audio.std(0).cpu()

    config = read_config(args.model)
    config |= {"adapt": "soft_prompt", "adapt_conf": {"length": args.length}}
    weights = read_weights(args.model)
    kept = {k: v for k, v in weights.items() if not k.startswith("adapt.")}
    write_weights(args.out, kept | {"adapt.embeds": embeds})
    with atomic_write(args.out / "config.yaml") as stream:
        yaml.safe_dump(config, stream, sort_keys=False)
    print(f"{args.out}: {args.length} vectors, of {len(audio)} audio embeddings")


if __name__ == "__main__":
    run(main)

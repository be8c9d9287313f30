"""Learn how a baseline's CTC head misspells, from speech with transcripts.

    python -m spft.bin.learn_confusions --model exp/baseline_ctc \
        --data data/librispeech_dev --out exp/baseline_ctc/confusions.json

The speech should be such as the head was not trained on, or it errs too little. The
table tells ``adapt: noisy_text`` how to misspell text (``adapt_conf: confusions``).
"""

import argparse
from pathlib import Path

from spft.errors import UserError, run


def get_parser() -> argparse.ArgumentParser:
    """Build the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--model", required=True, type=Path, help="experiment folder")
    add("--data", required=True, type=Path, nargs="+", help="data directories")
    add("--dump", type=Path, default=Path("dump"), help="features of stage 2")
    add("--out", required=True, type=Path, help="JSON to write")
    return parser


def main() -> None:
    """Run the command."""
    args = get_parser().parse_args()
    for folder in args.data:
        for name in ("text", "wav.scp"):
            if not (folder / name).exists():
                raise UserError(
                    f"{folder}/{name}: not found; speech and text are needed"
                )

    import jiwer
    import torch
    from tqdm import tqdm

    from spft.adapt.confusions import Confusions
    from spft.checkpoint import load_model
    from spft.data.speech import find_speech
    from spft.data.table import read_table
    from spft.projector.ctc import CTCProjector

    model, _ = load_model(args.model)
    if not isinstance(model.projector, CTCProjector):
        raise UserError(f"{args.model}: its projector does not spell (projector: ctc)")
    pairs = []
    for folder in args.data:
        speech, texts = find_speech(folder, args.dump), read_table(folder / "text")
        for utterance in tqdm(speech.lengths, desc=f"spelling {folder.name}"):
            waves = torch.from_numpy(speech.load(utterance)).float()[None]
            lengths = torch.tensor([waves.shape[1]])
            with torch.inference_mode(), model.llm.autocast():
                frames, lengths, _ = model.encoder(waves, lengths)
                (spelt,) = model.projector.spell(frames, lengths)
            pairs.append((texts[utterance], spelt))
    confusions = Confusions.learn(pairs)
    confusions.write(args.out)
    rate = jiwer.cer(*map(list, zip(*pairs, strict=True)))
    print(f"{args.out}: letter error rate {rate:.3f}, "
          f"{len(confusions.written)} kinds of errors")  # fmt: skip


if __name__ == "__main__":
    run(main)

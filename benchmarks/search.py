"""Beam search against transformers' generate: hypotheses, speed, memory.

    python -m benchmarks.search --model exp/baseline --data data/music_test \
        --lm exp/music/lm --ngram exp/music/ngram

For each batch size: utterances a second of generate, of ours without an LM and of ours
with LM fusion, all with the same prefixes and limits, in turns; and of generate one
utterance at a time. Without an LM the hypotheses are compared.
"""

import argparse
import resource
import sys
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.common import seconds, table
from spft.bin.decode import DecodeConfig
from spft.data.speech import SpeechSource, find_speech
from spft.prefix import Prefix
from spft.recognizer import Recognizer


def generate(llm, prefix: Prefix, beam: int, limit: int) -> list[list[int]]:
    """Best hypotheses of transformers' own search, without eos."""
    embeds, mask = prefix.left_padded()
    bos = llm.embed(torch.full((len(embeds), 1), llm.bos, device=embeds.device))
    output = llm.model.generate(
        inputs_embeds=torch.cat([embeds.to(bos.dtype), bos], 1),
        attention_mask=torch.cat([mask, mask.new_ones(len(mask), 1)], 1).long(),
        num_beams=beam,
        max_new_tokens=limit,
        do_sample=False,
        length_penalty=0.0,
        eos_token_id=llm.eos,
        pad_token_id=llm.eos,
    )
    rows = output.tolist()
    return [row[: row.index(llm.eos)] if llm.eos in row else row for row in rows]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="experiment folder")
    parser.add_argument("--data", type=Path, required=True, help="data directory")
    parser.add_argument("--dump", type=Path, default=Path("dump"))
    parser.add_argument("--lm", type=Path, required=True)
    parser.add_argument("--ngram", type=Path, required=True)
    parser.add_argument("--utterances", type=int, default=64)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 4, 10])
    args = parser.parse_args()

    config = DecodeConfig(no_repeat_ngram_size=0)
    external = {"lm": args.lm, "ngram": args.ngram}
    recognizer = Recognizer(args.model, config, external)
    speech = find_speech(args.data, args.dump)
    names = sorted(speech.lengths)[: args.utterances]
    speech = SpeechSource(
        speech.path, speech.kind, {u: speech.lengths[u] for u in names}
    )
    rows = []
    for beam in args.beams:
        for batch in args.batches:
            config = replace(config, beam=beam, batch_size=batch)
            rows.append([beam, batch, *measure(recognizer, config, speech)])
    header = ["beam", "batch", "generate utt/s", "ours utt/s", "ours + LMs utt/s"]
    print(table([*header, "ratio", "ratio + LMs", "same", "peak GB"], rows))


def measure(recognizer: Recognizer, config: DecodeConfig, speech: SpeechSource) -> list:
    """One row of the table."""
    recognizer.config = config
    device = str(recognizer.llm.device)
    weights = {"none": {}, "lms": {"lm": 0.1, "ngram": 0.2}}
    found, spent = {}, {}
    found["generate"] = {}
    spent["generate"] = seconds(
        lambda: found["generate"].update(by_generate(recognizer, config, speech)),
        device,
    )
    for name, values in weights.items():
        found[name] = {}
        spent[name] = seconds(
            lambda name=name, values=values: found[name].update(
                recognizer.decode(speech, values)
            ),
            device,
        )
    same = sum(
        found["generate"][u] == nbest[0].tokens for u, nbest in found["none"].items()
    )
    speed = [len(speech.lengths) / spent[k] for k in ("generate", "none", "lms")]
    return [
        *speed,
        speed[1] / speed[0],
        speed[2] / speed[0],
        f"{same}/{len(speech.lengths)}",
        peak_memory(device),
    ]


def by_generate(recognizer, config, speech: SpeechSource) -> dict[str, list[int]]:
    """Decode as the recogniser does, through generate."""
    order = sorted(speech.lengths, key=lambda u: -speech.lengths[u])
    results = {}
    for i in range(0, len(order), config.batch_size):
        batch = order[i : i + config.batch_size]
        frames = recognizer.encode([speech.load(u) for u in batch])
        prefix, limits = recognizer.prefix(*frames)
        with torch.inference_mode():
            found = generate(recognizer.llm, prefix, config.beam, max(limits))
        results |= zip(batch, found, strict=True)
    return results


def peak_memory(device: str) -> float:
    """Most memory held so far, in GB."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    main()

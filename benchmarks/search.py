"""Beam search against transformers' generate: hypotheses, speed, memory.

    python -m benchmarks.search --model exp/baseline --data data/music_test \
        --lm exp/music/lm --ngram exp/music/ngram

For each beam and batch size: utterances a second of generate, of ours without an LM,
with LM and n-gram, and with the CTC head too; all with the same prefixes, one after the
other. Without an LM the hypotheses are compared: in float32 they must be the same;
where bfloat16 is timed, rounding may decide between near ties. The first batch size
should be 1: generate one utterance at a time.
"""

import argparse
import math
import resource
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch

from benchmarks.common import matmul_rate, seconds, table, work
from spft import few_rows
from spft.data.audio import duration
from spft.data.speech import SpeechSource, find_speech
from spft.data.table import read_table
from spft.prefix import Prefix
from spft.recognizer import Recognizer
from spft.search.config import DecodeConfig

WEIGHTS = {"lm": 0.2, "ngram": 0.3}  # in the search


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


def get_parser(doc: str) -> argparse.ArgumentParser:
    """A parser of what a search needs."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="experiment folder")
    parser.add_argument("--data", type=Path, required=True, help="data directory")
    parser.add_argument("--dump", type=Path, default=Path("dump"))
    parser.add_argument("--lm", type=Path, required=True)
    parser.add_argument("--ngram", type=Path, required=True)
    return parser


def main() -> None:
    """Run and print."""
    parser = get_parser(__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 4, 10])
    args = parser.parse_args()

    # What generate does: no CTC; n-grams may repeat.
    config = DecodeConfig(no_repeat_ngram_size=0, ctc_weight=0.0, first_pass_weight=0.0)
    external = {"lm": args.lm, "ngram": args.ngram}
    whole = find_speech(args.data, args.dump)
    check(args.model, config, first(whole, 8))
    recognizer = Recognizer(args.model, config, external)
    seconds_of = {u: duration(p) for u, p in read_table(args.data / "wav.scp").items()}
    rows, rate = [], matmul_rate(recognizer.llm)
    least = work(recognizer.llm, 1, 1, training=False)  # a hypothesis' next token
    for beam in args.beams:
        one_by_one = None
        for batch in args.batches:
            # Few suffice where batches are small and slow.
            speech = first(whole, max(batch, 16))
            names = speech.lengths
            config = replace(config, beam=beam, batch_size=batch)
            speed, tokens, same = measure(recognizer, config, speech)
            one_by_one = one_by_one or speed["generate"]
            audio = sum(seconds_of[u] for u in names) / len(names)
            plain, fused = speed["plain"], speed["LMs"]
            row = [beam, batch, speed["generate"], plain, fused, speed["LMs + CTC"]]
            row += [plain / speed["generate"], fused / speed["generate"]]
            row += [fused / one_by_one, f"{same}/{len(names)}"]
            share = tokens * plain * beam * least / rate
            row += [1 / (audio * fused), tokens * fused, f"{share:.0%}"]
            row.append(peak_memory(recognizer))
            rows.append(row)
            print(" ".join(str(cell) for cell in row), file=sys.stderr, flush=True)
    header = ["beam", "batch", "generate utt/s", "ours", "+ LMs", "+ LMs + CTC"]
    header += ["ours / generate", "+ LMs / generate", "+ LMs / one by one", "same"]
    header += ["RTF + LMs", "tokens/s + LMs", "ours, of ceiling", "peak GB so far"]
    print(table(header, rows))


def first(speech: SpeechSource, count: int) -> SpeechSource:
    """The first utterances by name."""
    lengths = {u: speech.lengths[u] for u in sorted(speech.lengths)[:count]}
    return replace(speech, lengths=lengths)


def check(model: Path, config: DecodeConfig, speech: SpeechSource) -> None:
    """Both searches find the same hypotheses in float32."""
    recognizer = Recognizer(model, config, {})
    recognizer.llm.model.float()
    found, expected = (way(recognizer, config, speech) for way in (ours, by_generate))
    same = sum(found[u] == expected[u] for u in found)
    print(
        f"hypotheses in float32, beam {config.beam}: {same} of {len(found)} the same\n"
    )
    if same < len(found):
        sys.exit("error: the search differs from generate")


def measure(recognizer: Recognizer, config: DecodeConfig, speech: SpeechSource):
    """Utterances a second by way, tokens an utterance, how many hypotheses agree.

    The better of two runs each, in turns: a way's first calls prepare what later ones
    find, and other work on the machine slows whom it meets.
    """
    joint = replace(config, ctc_weight=DecodeConfig.ctc_weight)
    ways = {
        "generate": lambda: by_generate(recognizer, config, speech),
        "plain": lambda: ours(recognizer, config, speech),
        "LMs": lambda: ours(recognizer, config, speech, WEIGHTS),
        "LMs + CTC": lambda: ours(recognizer, joint, speech, WEIGHTS),
    }
    found, spent = {}, dict.fromkeys(ways, math.inf)
    for name, way in [*ways.items()] * 2:
        run = seconds(lambda n=name, w=way: found.update({n: w()}), device(recognizer))
        spent[name] = min(spent[name], run)
    speed = {name: len(speech.lengths) / least for name, least in spent.items()}
    same = sum(found["generate"][u] == found["plain"][u] for u in speech.lengths)
    tokens = sum(len(found["LMs"][u]) for u in speech.lengths) / len(speech.lengths)
    return speed, tokens, same


def ours(
    recognizer, config, speech: SpeechSource, weights=None
) -> dict[str, list[int]]:
    """Best hypotheses of the project's search, to which generate has an equal."""
    recognizer.config = config
    results = recognizer.decode(speech, weights or {})
    return {u: nbest[0].tokens for u, nbest in results.items()}


def by_generate(recognizer, config, speech: SpeechSource) -> dict[str, list[int]]:
    """Decode as the recogniser does, through generate."""
    order = sorted(speech.lengths, key=lambda u: -speech.lengths[u])
    results = {}
    # generate slices the last positions out; a product with such a slice in bfloat16
    # copies the output layer for each row: 36 GB with 64 utterances and ten beams.
    layer = recognizer.llm.model.get_output_embeddings()
    hook = layer.register_forward_pre_hook(lambda _, rows: (rows[0].contiguous(),))
    for i in range(0, len(order), config.batch_size):
        batch = order[i : i + config.batch_size]
        frames = recognizer.encode([speech.load(u) for u in batch])
        prefix, limits = recognizer.prefix(*frames, speech.transcripts(batch))
        # As transformers multiplies.
        with torch.inference_mode(), patch.object(few_rows, "ROWS", range(0)):
            found = generate(recognizer.llm, prefix, config.beam, max(limits))
        results |= zip(batch, found, strict=True)
    hook.remove()
    return results


def device(recognizer: Recognizer) -> str:
    """The type of the device that the recogniser is on."""
    return recognizer.llm.device.type


def peak_memory(recognizer: Recognizer) -> float:
    """Most memory held so far, in GB."""
    if device(recognizer) != "cpu":
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    main()

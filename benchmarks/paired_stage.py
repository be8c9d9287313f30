"""Utterances a second in the baseline's paired training, against the plain loop.

    python -m benchmarks.paired_stage --model exp/baseline --data data/librispeech_dev

The plain loop is the same model as one writes it with transformers alone: utterances
in random order, audio embeddings and text in one padded batch, ``labels`` given to the
LLM, which computes all logits; the frozen encoder runs in each step. Ours: batches by
length, logits at labels, cached features. Both compute the same loss in float32
(checked); the speeds are those of the shipped configuration, in turns, in one run. The
encoder's time is measured apart, and the plain loop also shown without it.
"""

import argparse
import random
from pathlib import Path

import torch
from torch.nn.utils.rnn import pad_sequence

from benchmarks.common import pad, seconds, table
from spft.checkpoint import load_model
from spft.data.audio import read_audio
from spft.data.speech import find_speech
from spft.data.table import read_table
from spft.encoder.moonshine import Moonshine
from spft.pretrained import resolve


def plain_loss(model, speech, speech_lengths, written, text, lengths) -> torch.Tensor:
    """Mean loss per label through the plain way."""
    llm = model.llm
    frames, frame_lengths, _ = model.encoder(speech, speech_lengths)
    prefix, _ = model.projector(frames, frame_lengths, llm, first_pass=written)
    rows, labels = [], []
    for i, n in enumerate(lengths.tolist()):
        ends = text.new_tensor([llm.bos]), text.new_tensor([llm.eos])
        audio = prefix.embeds[i, : prefix.lengths[i]]
        words = llm.embed(torch.cat([ends[0], text[i, :n], ends[1]]))
        rows.append(torch.cat([audio.to(words.dtype), words]))
        silent = text.new_full((len(audio) + 1,), -100)
        labels.append(torch.cat([silent, text[i, :n], ends[1]]))
    sizes = torch.tensor([len(row) for row in rows], device=text.device)
    embeds = pad_sequence(rows, batch_first=True)
    positions = torch.arange(embeds.shape[1], device=text.device)
    return llm.model(
        inputs_embeds=embeds,
        attention_mask=(positions < sizes[:, None]).long(),
        labels=pad_sequence(labels, batch_first=True, padding_value=-100),
        use_cache=False,
    ).loss


def our_loss(model, speech, speech_lengths, written, text, lengths) -> torch.Tensor:
    """Mean loss per label through the project's way."""
    first_pass = (None, None)
    if written is not None:
        first_pass = pad([model.llm.encode(row) for row in written], text.device)
    return model(text, lengths, speech, speech_lengths, *first_pass)[0]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="paired stage")
    parser.add_argument("--data", type=Path, required=True, help="data directory")
    parser.add_argument("--dump", type=Path, default=Path("dump"))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--batches", type=int, default=10, help="timed")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()

    model = load_model(args.model)
    model.to(args.device)
    model.llm_weight, model.ctc_weight = 1.0, 0.0
    trained = [p for n, p in model.named_parameters() if "residual" in n or "lora" in n]
    for parameter in trained:
        parameter.requires_grad_(True)
    speech = find_speech(args.data, args.dump)
    texts, paths = (read_table(args.data / name) for name in ("text", "wav.scp"))

    def batch(names: list[str]) -> tuple:
        frames = [torch.from_numpy(speech.load(u)) for u in names]
        lengths = torch.tensor([len(f) for f in frames], device=args.device)
        padded = pad_sequence(frames, batch_first=True).to(args.device)
        tokens = [model.llm.encode(texts[u]) for u in names]
        written = speech.transcripts(names)
        return padded, lengths, written, *pad(tokens, args.device)

    check(model, batch(list(speech.lengths)[: args.batch]))
    model.train()
    optimizer = torch.optim.AdamW(trained, lr=1e-6, fused=True)

    def step(loss, names):
        with model.llm.autocast():
            value = loss(model, *batch(names))
        value.backward()
        optimizer.step()
        optimizer.zero_grad()

    by_length = sorted(speech.lengths, key=speech.lengths.get)
    shuffled = random.Random(0).sample(by_length, len(by_length))
    last = len(by_length) - args.batch
    starts = [last * i // (args.batches - 1) for i in range(args.batches)]
    ways = {"plain": (plain_loss, shuffled), "ours": (our_loss, by_length)}
    spent = dict.fromkeys(ways, 0.0)
    for loss, names in ways.values():
        for start in starts:
            step(loss, names[start : start + args.batch])  # warm up
    for start in starts:
        for way, (loss, names) in ways.items():
            part = names[start : start + args.batch]
            spent[way] += seconds(lambda f=loss, p=part: step(f, p), args.device)
    count = args.batch * len(starts)
    reading = seconds(lambda: [batch(by_length[i : i + args.batch]) for i in starts])
    speed = {way: count / time for way, time in spent.items()}
    waves = [read_audio(paths[u]) for u in shuffled[: args.batch]]
    encode = Moonshine(resolve(model.encoder.extractor), str(args.device)).encode
    encoding = seconds(lambda: [encode(w) for w in waves]) / args.batch
    plain = 1 / (1 / speed["plain"] + encoding)
    row = [plain, speed["plain"], speed["ours"], speed["ours"] / plain]
    row += [speed["ours"] / speed["plain"], f"{reading / spent['ours']:.1%}"]
    header = ["plain utt/s", "cached", "ours", "ours / plain", "ours / cached"]
    print(table([*header, "ours, reading"], [row]))


def check(model, batch: tuple) -> None:
    """Both ways give the same loss in float32."""
    llm, kept = model.llm, model.llm.dtype
    llm.float()
    found = [loss(model, *batch).item() for loss in (plain_loss, our_loss)]
    torch.testing.assert_close(*found, rtol=1e-3, atol=0)
    print(f"loss in float32: {found[0]:.6f} (plain), {found[1]:.6f} (ours)")
    for name, parameter in llm.named_parameters():
        if "lora_" not in name:
            parameter.data = parameter.data.to(kept)


if __name__ == "__main__":
    main()

"""Sentences a second in the text-only stages, against the plain loop.

    python -m benchmarks.text_stage --text data/music_text/train/text

The plain loop is what one writes with transformers alone: the prompt before every
sentence, batches in corpus order, padded, all logits. Ours: the prompt once a batch,
batches by length, logits at labels. Both compute the same loss and gradient in float32
(checked); the speeds are in turns, in one run, and of bfloat16 where the machine has
it. The second table is ours alone in larger batches, whose cost a long prompt adds less
to. On a GPU a size's first step records it (:mod:`spft.cuda_graphs`); that is timed
apart. "of ceiling" is the share of the machine's rate of matrix products at which ours
does the products that it cannot do without. With ``--compile`` ours is timed once more
with ``llm_conf.compile``.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch.nn import functional as F

from benchmarks.common import (
    load_llm,
    matmul_rate,
    pad,
    seconds,
    sentences,
    table,
    work,
)
from spft.adapt.soft_prompt import SoftPrompt
from spft.errors import UserError, run
from spft.llm import LLM
from spft.prefix import Prefix

STAGES = ("prompt", "decoder")


def plain_loss(llm: LLM, prompt: torch.Tensor, text, lengths) -> torch.Tensor:
    """Mean loss per label through the plain way."""
    batch, width = len(text), len(prompt)
    inputs = F.pad(text, (1, 0), value=llm.bos).clamp(min=0)
    labels = F.pad(text, (0, 1), value=-100).masked_fill(
        torch.arange(text.shape[1] + 1, device=text.device) == lengths[:, None], llm.eos
    )
    labels[labels == -1] = -100
    before = prompt.to(llm.embed(inputs).dtype).expand(batch, -1, -1)
    mask = torch.arange(inputs.shape[1], device=text.device) <= lengths[:, None]
    logits = llm.model(
        inputs_embeds=torch.cat([before, llm.embed(inputs)], 1),
        attention_mask=F.pad(mask, (width, 0), value=True).long(),
        use_cache=False,
    ).logits
    logits = logits[:, width:].float().flatten(0, 1)
    return F.cross_entropy(logits, labels.flatten(), ignore_index=-100)


def shared_loss(llm: LLM, prompt: torch.Tensor, text, lengths) -> torch.Tensor:
    """Mean loss per label through the project's way."""
    prefix = Prefix(prompt[None], torch.tensor([len(prompt)], device=prompt.device))
    return llm(prefix, text, lengths).mean()


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, required=True, help="Kaldi text")
    parser.add_argument("--lengths", type=int, nargs="+", default=[30, 50, 300])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--batches", type=int, default=2, help="timed for each row")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--large_batch", type=int, default=256)
    parser.add_argument("--compile", action="store_true", help="also by torch.compile")
    parser.add_argument(
        "--longest_plain", type=int, default=100, help="beyond it memory is short"
    )
    args = parser.parse_args()

    check(args)
    llm = load_llm(device=args.device).train()
    rows = sentences(llm, args.text)
    batches = {"plain": cut(rows, args.batch, args)}
    sizes = {"shared": args.batch, "large": args.large_batch}
    models = dict.fromkeys(sizes, llm)
    models["plain"] = load_llm(device=args.device).train()
    if args.compile:
        models["compiled"] = load_llm(device=args.device, compile=True).train()
        sizes["compiled"] = args.batch
    for name, size in sizes.items():
        batches[name] = cut(sorted(rows, key=len), size, args)
    results, large, firsts, rate = [], [], [], matmul_rate(llm)
    for stage in STAGES:
        found = {}
        for length in args.lengths:
            ways = {k: b for k, b in batches.items()
                    if k != "plain" or length <= args.longest_plain}  # fmt: skip
            speed = {"plain": "–"} | measure(models, stage, length, ways, args.device)
            firsts.append(speed["first"])
            ratio = speed["shared"] / speed["plain"] if "plain" in ways else "–"
            found[length] = speed["large"]
            more = found[args.lengths[0]] / speed["large"] - 1
            shares = {
                name: f"{least(llm, length, batches[name]) * speed[name] / rate:.0%}"
                for name in ("shared", "large")
            }
            results.append([stage, length, speed["plain"], speed["shared"], ratio])
            results[-1].append(shares["shared"])
            if args.compile:
                results[-1].append(speed["compiled"])
            large.append([stage, length, speed["large"], f"{more:.0%}"])
            large[-1].append(shares["large"])
            print(*results[-1], *large[-1][2:], file=sys.stderr, flush=True)
    if args.device != "cpu":
        print(f"\nFirst step of a size: {max(firsts):.2g} s at most")
    header = ["stage", "d", "plain sent/s", "shared sent/s", "ratio", "of ceiling"]
    header += ["compiled sent/s"] if args.compile else []
    print(f"\nBatches of {args.batch}:\n\n{table(header, results)}")
    header = ["stage", "d", "shared sent/s", f"more time than d = {args.lengths[0]}"]
    header.append("of ceiling")
    print(f"\nBatches of {args.large_batch}:\n\n{table(header, large)}")


def cut(rows: list[list[int]], size: int, args: argparse.Namespace) -> list[tuple]:
    """So many batches of ``size`` rows from all over the text.

    Raises:
        UserError: the text is too short for that.
    """
    if len(rows) < size + args.batches:
        raise UserError(
            f"{args.text}: {len(rows)} sentences, and {args.batches} batches of "
            f"{size} want {size + args.batches} at least"
        )
    starts = range(0, len(rows) - size, (len(rows) - size) // args.batches)
    return [pad(rows[i : i + size], args.device) for i in starts][: args.batches]


def least(llm: LLM, length: int, batches: list[tuple]) -> float:
    """Operations a sentence with a prompt of ``length`` shared by each batch."""
    labels = sum(int(lengths.sum()) + len(lengths) for _, lengths in batches)
    positions = labels + length * len(batches)
    return work(llm, positions, labels, True) / sum(len(text) for text, _ in batches)


def check(args: argparse.Namespace) -> None:
    """Both ways give the same loss and the same gradients in float32."""
    llm = load_llm("float32", args.device).train()
    text, lengths = pad(sentences(llm, args.text)[:8], args.device)
    prompt = SoftPrompt(llm, 50).to(args.device).embeds
    found = []
    # One each: while passes are recorded no result of a plain one may be alive.
    other = load_llm("float32", args.device).train()
    for loss, model in ((plain_loss, other), (shared_loss, llm)):
        value = loss(model, prompt, text, lengths)
        (gradient,) = torch.autograd.grad(value, prompt)
        found.append((value.detach(), gradient))
    torch.testing.assert_close(*(value for value, _ in found), rtol=1e-4, atol=0)
    torch.testing.assert_close(*(g for _, g in found), rtol=1e-2, atol=1e-6)
    print(f"loss in float32: {found[0][0]:.6f} (plain), {found[1][0]:.6f} (shared)")


def measure(models: dict, stage: str, length: int, batches: dict, device: str) -> dict:
    """Sentences a second of all ways, in turns."""
    steps = {
        name: stepper(models[name], plain_loss if name == "plain" else shared_loss,
                      stage, length, device)
        for name in batches
    }  # fmt: skip
    first = seconds(lambda: steps["shared"](batches["shared"][0]), device)
    for name, step in steps.items():
        for batch in batches[name]:
            step(batch)  # warm up
    spent = dict.fromkeys(steps, 0.0)
    for turn in zip(*batches.values(), strict=True):
        for (name, step), batch in zip(steps.items(), turn, strict=True):
            spent[name] += seconds(lambda step=step, b=batch: step(b), device)
    speed = {
        name: sum(len(text) for text, _ in batches[name]) / spent[name]
        for name in steps
    }
    return speed | {"first": first}


def stepper(llm: LLM, loss, stage: str, length: int, device: str):
    """What takes one step of a stage on a batch."""
    prompt = SoftPrompt(llm, length).to(device).embeds
    prompt.requires_grad_(stage == "prompt")
    for name, parameter in llm.named_parameters():
        parameter.requires_grad_(stage == "decoder" and "lora_" in name)
    trained = [p for p in llm.parameters() if p.requires_grad] or [prompt]
    optimizer = torch.optim.AdamW(trained, lr=1e-6, fused=True)

    def step(batch: tuple) -> None:
        with llm.autocast():
            value = loss(llm, prompt, *batch)
        value.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


if __name__ == "__main__":
    run(main)

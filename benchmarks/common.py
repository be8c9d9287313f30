"""What the benchmarks share: the model, the text, a clock, a table."""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn.utils.rnn import pad_sequence

from spft.files import read_yaml
from spft.llm import LLM


def load_llm(dtype: str = "auto", device: str = "cpu", **options) -> LLM:
    """The default preset's LLM with LoRA, whose product is not zero."""
    torch.manual_seed(0)
    conf = read_yaml("conf/model.yaml")["llm_conf"]
    llm = LLM(**conf, dtype=dtype, **options).to(device)
    for name, parameter in llm.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=1e-3)
    return llm


def sentences(llm: LLM, path: Path) -> list[list[int]]:
    """Token ids of a Kaldi text, in its order."""
    from spft.data.table import read_table

    return [llm.encode(text) for text in read_table(path).values()]


def pad(rows: list[list[int]], device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids ``[B, L]`` padded with -1, and lengths ``[B]``."""
    lengths = torch.tensor([len(row) for row in rows], device=device)
    tensors = [torch.tensor(row) for row in rows]
    return pad_sequence(tensors, batch_first=True, padding_value=-1).to(device), lengths


def seconds(function: Callable[[], object], device: str = "cpu") -> float:
    """Time of one call, after the device has finished."""
    synchronise(device)
    start = time.perf_counter()
    function()
    synchronise(device)
    return time.perf_counter() - start


def matmul_rate(llm: LLM) -> float:
    """Operations a second of a product like those of the LLM's MLP: the ceiling."""
    a = torch.randn(1024, llm.width, device=llm.device, dtype=llm.dtype)
    b = torch.randn(3 * llm.width, llm.width, device=llm.device, dtype=llm.dtype)
    spent = min(seconds(lambda: a @ b.T, llm.device.type) for _ in range(20))
    return 2 * a.numel() * len(b) / spent


def work(llm: LLM, positions: int, outputs: int, training: bool) -> float:
    """Operations that the matrix products of a pass cannot do without.

    A frozen weight costs as much in the backward pass as in the forward pass.

    Args:
        llm: the model; its LoRA is not counted.
        positions: that go through the layers.
        outputs: of them, those whose logits are needed.
        training: with a backward pass.
    """
    table = llm.model.get_output_embeddings().weight.numel()
    tied = table if llm.model.config.tie_word_embeddings else 2 * table
    kept = sum(p.numel() for n, p in llm.model.named_parameters() if "lora_" not in n)
    once = 2 * ((kept - tied) * positions + table * outputs)
    return once * (2 if training else 1)


def synchronise(device: str) -> None:
    """Wait for an accelerator."""
    if device != "cpu":
        torch.cuda.synchronize()


def table(header: list[str], rows: list[list]) -> str:
    """A markdown table."""
    from spft.scoring.table import format_table

    cells = [[f"{c:.3g}" if isinstance(c, float) else str(c) for c in r] for r in rows]
    return format_table(header, cells)

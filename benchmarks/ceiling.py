"""What this machine can do: the rate of matrix products, and of moving memory.

    python -m benchmarks.ceiling

The figures of the other benchmarks are to be read against these.
"""

import argparse

import torch

from benchmarks.common import seconds, table
from spft.scoring.environment import environment

# Rows x inner x columns: a large square; the LLM's MLP on a batch of sentences; the
# same on a new token of each of 128 hypotheses; its output layer on a batch's labels.
SHAPES = {
    "2048 x 2048 x 2048": (2048, 2048, 2048),
    "MLP, 512 positions": (512, 576, 1536),
    "MLP, 128 hypotheses": (128, 576, 1536),
    "output layer, 320 labels": (320, 576, 49152),
}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    rows = []
    for name, (m, k, n) in SHAPES.items():
        rates = []
        for dtype in (torch.float32, torch.bfloat16):
            a = torch.randn(m, k, device=args.device).to(dtype)
            b = torch.randn(n, k, device=args.device).to(dtype)
            spent = best(lambda a=a, b=b: a @ b.T, args.device)
            rates.append(2 * m * k * n / spent / 1e9)
        rows.append([name, *rates])
    facts = environment()
    if args.device != "cpu":
        facts["GPU"] = torch.cuda.get_device_name()
    print("\n".join(f"- {name}: {value}" for name, value in facts.items()), end="\n\n")
    print(table(["matrix product", "float32 GFLOP/s", "bfloat16 GFLOP/s"], rows))
    block = torch.zeros(2**27, device=args.device)  # 512 MB
    spent = best(lambda: block.add_(1), args.device)
    print(f"\nMemory: {2 * block.nbytes / spent / 1e9:.1f} GB/s read and written")


def best(function, device: str, repeats: int = 10) -> float:
    """Shortest of several times, after warming up."""
    function()
    return min(seconds(function, device) for _ in range(repeats))


if __name__ == "__main__":
    main()

"""How time and memory grow with the size of everything that a user may enlarge.

    python -m benchmarks.growth --plot benchmarks/results/cpu_growth.svg

Each point is a process of its own. Text and vocabulary grow around tiny models, so that
the part that grows shows above the constant part; prompt, utterance and beam grow with
the default LLM. Prints tables and plots them.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

POINTS = {
    "sentences": [1_000, 10_000, 100_000, 1_000_000],
    "prompt length": [30, 100, 300, 1000],
    "utterance length": [25, 50, 100, 200],
    "beam": [1, 2, 4, 8, 16],
    "vocabulary": [49_152, 98_304, 150_000],
}
NOTES = {
    "sentences": "prompt stage: start, and 100 batches of the text (--part_size 20000)",
    "prompt length": "prompt stage, forward and backward, 64 sentences of 16 tokens",
    "utterance length": "beam search, 8 prefixes of so many positions, as many tokens",
    "beam": "beam search, 8 prefixes of 50 positions, 50 tokens",
    "vocabulary": "beam search with an LLM of so many tokens, beam 4",
}


def main() -> None:
    """Measure all points, or the one given by ``--point``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plot", type=Path, help="SVG to write")
    parser.add_argument("--only", nargs="+", choices=POINTS, default=list(POINTS))
    parser.add_argument("--point", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.point:
        print(json.dumps(measure(args.point[0], int(args.point[1]))))
        return

    from benchmarks.common import table

    found = {name: [(n, *run_point(name, n)) for n in POINTS[name]]
             for name in args.only}  # fmt: skip
    parts = []
    for name, rows in found.items():
        cells = [[f"{n:,}", time, memory] for n, time, memory in rows]
        parts.append(f"**{name}**: {NOTES[name]}; time grows with its power "
                     f"{power(rows):.2f}\n\n")  # fmt: skip
        parts[-1] += table([name, "seconds", "peak MB"], cells)
    print("\n\n".join(parts))
    if args.plot:
        args.plot.parent.mkdir(parents=True, exist_ok=True)
        plot(found, args.plot)


def run_point(name: str, size: int) -> tuple[float, float]:
    """Seconds and peak MB of one point, in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.growth", "--point", name, str(size)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    time, memory = json.loads(done.stdout.splitlines()[-1])
    print(name, size, round(time, 2), round(memory), file=sys.stderr, flush=True)
    return time, memory


def power(rows: list[tuple]) -> float:
    """Exponent between the two largest points."""
    (m, before, _), (n, after, _) = rows[-2:]
    return math.log(after / before) / math.log(n / m)


def measure(name: str, size: int) -> tuple[float, float]:
    """Seconds and peak memory (MB) of one point."""
    import resource

    from benchmarks.common import seconds

    with tempfile.TemporaryDirectory() as folder:
        if name == "sentences":
            time = seconds(sentences(Path(folder), size))
            # The stage was a process of its own.
            usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        else:
            if name == "prompt length":
                task = prompt(size)
                task()  # one step; a search warms up in its first ones
            else:
                task = search(size, name)
            time = seconds(task)
            usage = resource.getrusage(resource.RUSAGE_SELF)
    return time, usage.ru_maxrss / 1e3


def write_text(folder: Path, count: int) -> Path:
    """A data directory of ``count`` sentences, 3 to 10 words long."""
    words = ["play", "the", "new", "song", "by", "some", "old", "band", "once", "more"]
    folder.mkdir()
    with open(folder / "text", "w", encoding="utf-8") as stream:
        for i in range(count):
            stream.write(f"s{i:08d} {' '.join(words[: 3 + i % 8])}\n")
    return folder


def make_llm(folder: Path) -> Path:
    """A small random LLM with a tokenizer."""
    command = [sys.executable, "-m", "spft.bin.make_tiny_llm", "--vocab", "60"]
    command += ["--text", str(write_text(folder / "small", 50) / "text")]
    command += ["--out", str(folder / "llm")]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "llm"


def sentences(folder: Path, size: int):
    """Training the tiny preset's prompt on ``size`` sentences."""
    tiny, llm = Path("conf/presets/tiny"), make_llm(folder)
    model = (tiny / "model.yaml").read_text()
    name = next(line for line in model.splitlines() if line.startswith("    name:"))
    (folder / "model.yaml").write_text(model.replace(name, f"    name: {llm}"))
    command = [sys.executable, "-m", "spft.bin.train", "--part_size", "20000"]
    command += ["--config", str(tiny / "prompt.yaml")]
    command += ["--model", str(folder / "model.yaml"), "--out", str(folder / "out")]
    command += ["--train", str(write_text(folder / "text", size))]
    command += ["--valid", str(folder / "small"), "--", "--max_epoch", "1"]
    command += ["--num_iters_per_epoch", "100"]
    return lambda: subprocess.run(command, check=True, capture_output=True)


def prompt(length: int):
    """Forward and backward passes of the prompt stage."""
    import torch

    from benchmarks.common import load_llm
    from spft.prefix import Prefix

    llm = load_llm()
    embeds = (0.1 * torch.randn(1, length, llm.width)).requires_grad_()
    text, lengths = torch.randint(3, 50, (64, 16)), torch.full((64,), 16)

    def step():
        with llm.autocast():
            prefix = Prefix(embeds, torch.tensor([length]))
            llm(prefix, text, lengths).mean().backward()

    return step


def llama(vocabulary: int):
    """A small random LLM without a tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).eval()


def search(size: int, name: str):
    """A beam search over 8 utterances, whose end nothing but the limit decides."""
    import torch

    from benchmarks.common import load_llm
    from spft.prefix import Prefix
    from spft.search.beam import BeamSearch, BeamSearchConfig

    if name == "vocabulary":
        llm = llama(size)
    else:
        loaded = load_llm()
        loaded.merge()
        llm = loaded.model
    length = size if name == "utterance length" else 50
    beam = size if name == "beam" else 4
    config = BeamSearchConfig(beam=beam, min_tokens=length)
    search = BeamSearch(llm, 1, 2, config=config)
    width = llm.get_input_embeddings().embedding_dim
    prefix = Prefix(0.1 * torch.randn(8, length, width), torch.full((8,), length))
    return lambda: search(prefix, [length] * 8)


def plot(found: dict, path: Path) -> None:
    """Time and memory against size, both axes logarithmic."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    _, axes = pyplot.subplots(1, len(found), figsize=(3 * len(found), 3), squeeze=False)
    for axis, (name, rows) in zip(axes[0], found.items(), strict=True):
        sizes, times, memory = zip(*rows, strict=True)
        axis.loglog(sizes, times, "o-", label="seconds")
        axis.loglog(sizes, [m / 1e3 for m in memory], "s--", label="peak GB")
        linear = [times[0] * n / sizes[0] for n in sizes]
        axis.loglog(sizes, linear, ":", color="gray", label="linear")
        axis.set_title(name)
    axes[0][0].legend()
    pyplot.tight_layout()
    pyplot.savefig(path)


if __name__ == "__main__":
    main()

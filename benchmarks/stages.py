"""What the stages of the default run cost, here and in an earlier commit.

    python -m benchmarks.stages --before 91981d9

Runs the commands of stages 4, 5 and 7 for music on a few batches, in turns, each commit
with its own configuration; the earlier one is checked out into a temporary folder and
set to the dtype that this machine is fast in. The code of the other stages is the same.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

SHARED = (".cache", "data", "dump", "exp")
UTTERANCES = 32
FEW = ["--max_epoch", "1", "--num_iters_per_epoch", "5"]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", required=True, help="git commit")
    args = parser.parse_args()

    from benchmarks.common import table
    from spft.llm import fast_dtype

    with tempfile.TemporaryDirectory() as folder:
        out, before = Path(folder) / "out", Path(folder) / "before"
        git = ["git", "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", before, args.before],
                       check=True)  # fmt: skip
        try:
            for name in SHARED:
                (before / name).symlink_to(Path(name).absolute())
            if "float32" in str(fast_dtype()):
                use_float32(before / "spft")
            small_sets(out)
            rows = []
            for title, stage in STAGES.items():
                old = stage(before, out / f"{stage.__name__}-before")
                new = stage(Path.cwd(), out / f"{stage.__name__}-here")
                rows.append([title, old, new, old / new])
                print(*rows[-1], file=sys.stderr, flush=True)
        finally:
            subprocess.run([*git, "remove", "--force", before], check=True)
    print(table(["stage", f"s at {args.before}", "s here", "ratio"], rows))


def use_float32(package: Path) -> None:
    """Change the defaults of a commit that did not ask what the machine is fast in."""
    for name, old, new in (
        ("llm.py", 'dtype: str = "bfloat16"', 'dtype: str = "float32"'),
        (
            "model.py",
            'autocast: str | None = "bfloat16"',
            "autocast: str | None = None",
        ),
    ):
        text = (package / name).read_text(encoding="utf-8")
        (package / name).write_text(text.replace(old, new), encoding="utf-8")


def small_sets(out: Path) -> None:
    """The first lines of the development text and of the test set."""
    for source, name, size in (
        (Path("data/music_text/dev"), "text", 16),
        (Path("data/music_test"), "test", UTTERANCES),
    ):
        (out / name).mkdir(parents=True)
        for table in ("text", "wav.scp"):
            if (source / table).exists():
                lines = (source / table).read_text(encoding="utf-8").splitlines(True)
                lines = [line.replace(" data/", f" {Path.cwd()}/data/", 1)
                         for line in lines[:size]]  # fmt: skip
                (out / name / table).write_text("".join(lines), encoding="utf-8")
    frames = out / "dump" / "test"
    frames.mkdir(parents=True)
    first_passes = ("first_pass", "first_pass_written")
    for table in ("feats.scp", "utt2num_frames", *first_passes):
        lines = Path("dump/music_test", table).read_text("utf-8").splitlines(True)
        (frames / table).write_text("".join(lines[:UTTERANCES]), encoding="utf-8")


def run(root: Path, *command: str | Path) -> None:
    """A command of the commit in ``root``."""
    env = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", *map(str, command)]
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: {' '.join(command)} in {root}: {done.stderr[-800:]}")


def train(root: Path, out: Path, config: str, init: Path, *options: str) -> float:
    """Seconds a batch of a text stage."""
    run(root, "spft.bin.train", "--config", f"conf/{config}.yaml", "--out", out,
        "--train", "data/music_text/train", "--valid", out.parent / "text",
        "--init", init, "--", "--ngpu", "0", *FEW, *options)  # fmt: skip
    log = (out / "train.log").read_text(encoding="utf-8")
    return float(re.search(r"epoch results: .*? train_time=([\d.]+)", log)[1])


def prompt(root: Path, out: Path) -> float:
    """Step 1."""
    return train(root, out, "prompt", Path("exp/baseline"))


def decoder(root: Path, out: Path) -> float:
    """Step 2, under the prompt that :func:`prompt` left."""
    init = out.with_name(out.name.replace("decoder", "prompt"))
    return train(root, out, "decoder", init)


def no_prompt(root: Path, out: Path) -> float:
    """Plain text tuning."""
    options = "--adapt", "no_prompt"
    return train(root, out, "decoder", Path("exp/baseline"), *options)


def decode(root: Path, out: Path, *options: str) -> float:
    """Seconds of the search over a few utterances, without the CTC head."""
    config = out.parent / f"{out.name}.yaml"
    lines = (root / "conf" / "decode.yaml").read_text(encoding="utf-8")
    config.write_text(re.sub(r"ctc_weight: .*", "ctc_weight: 0.0", lines))
    run(root, "spft.bin.decode", "--systems", "base=exp/baseline", "--config", config,
        "--data", out.parent / "test", "--dump", out.parent / "dump", "--out", out,
        *options)  # fmt: skip
    tag = "lm" if options else "plain"
    report = json.loads((out / f"base/decode_{tag}/decode.json").read_text())
    return report["timing"]["test"]["seconds"]


def fused(root: Path, out: Path) -> float:
    """The same with LM and n-gram."""
    external = ["--lm", "exp/music/lm", "--ngram", "exp/music/ngram"]
    weights = ["--lm_weight", "0.2", "--ngram_weight", "0.3"]
    return decode(root, out, *external, *weights)


STAGES = {
    "4: prompt, a batch": prompt,
    "5: decoder under the prompt, a batch": decoder,
    "5: decoder without, a batch": no_prompt,
    f"7: search, {UTTERANCES} utterances": decode,
    "7: search with LM and n-gram, the same": fused,
}

if __name__ == "__main__":
    main()

"""Recognise test sets by beam search, without and with shallow fusion (stage 7).

    python -m spft.bin.decode --out exp/music \
        --systems base=exp/baseline soft_prompt=exp/music/soft_prompt \
        --data data/music_test data/general_test \
        --lm exp/music/lm --ngram exp/music/ngram --tune data/music_dev

Writes ``<out>/<system>/decode_plain/<set>/{text,nbest.jsonl}``, with external LMs also
``decode_lm``, with ``--phrases data/music_text/train`` also ``decode_second``: there,
phrases of the domain that are spelt like what was heard join the n-best lists, and all
is judged once more. Each has a ``decode.json``: weights and timing. The weights are
those of the configuration with the lowest WER on ``--tune``, a development set, or the
lowest EER where it has no transcripts.
"""

import argparse
import functools
import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

from spft.errors import UserError, run
from spft.files import atomic_write, sha256
from spft.search.config import DecodeConfig


def get_parser() -> argparse.ArgumentParser:
    """Build the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--systems", required=True, nargs="+", help="NAME=FOLDER of trained stages")
    add("--data", required=True, type=Path, nargs="+", help="data directories")
    add("--out", required=True, type=Path, help="folder to write")
    add("--config", help="YAML of the search; default: its built-in values")
    add("--dump", type=Path, default=Path("dump"), help="features of stage 2")
    add("--lm", type=Path, help="external LM")
    add("--ngram", type=Path, help="external n-gram")
    add("--tune", type=Path, help="development set to choose the weights on")
    add("--phrases", type=Path, help="text of the domain for a second pass")
    add("--lm_weight", type=float, help="fixed weight, instead of --tune")
    add("--ngram_weight", type=float, help="fixed weight, instead of --tune")
    add("--resume", action="store_true", help="leave what is of the same things")
    add("--only", type=int, help="the so-many-th of the systems alone, from 1")
    add("--keep_prompt", action="store_true", help="keep the prompt before the audio")
    return parser


def main() -> None:
    """Run the command."""
    args = get_parser().parse_args()
    config = DecodeConfig.read(args.config)
    if args.keep_prompt:
        config = replace(config, keep_prompt=True)
    external = {k: v for k, v in (("lm", args.lm), ("ngram", args.ngram)) if v}
    fixed = {"lm": args.lm_weight, "ngram": args.ngram_weight}
    if external and not args.tune and any(fixed[name] is None for name in external):
        raise UserError("an external LM needs --tune DEV_SET, or its weight")
    if args.tune and any(weight is not None for weight in fixed.values()):
        raise UserError("--tune chooses the weights; leave --lm_weight and "
                        "--ngram_weight out")  # fmt: skip
    if args.phrases and not (external and args.tune):
        raise UserError("--phrases needs external LMs, and --tune DEV_SET for weights")
    systems = [system.partition("=")[::2] for system in args.systems]
    if args.only is not None:
        if not 1 <= args.only <= len(systems):
            raise UserError(f"--only {args.only}: there are {len(systems)} systems")
        systems = [systems[args.only - 1]]
    for _, folder in systems:
        if not (Path(folder) / "model.safetensors").exists():
            raise UserError(f"{folder}: no trained model; run stages 3 to 5 first")
    if len({folder.name for folder in args.data}) < len(args.data):
        raise UserError("--data: two sets of one name; their features and results, "
                        "which go by it, would be mixed up")  # fmt: skip
    for folder in [*args.data, *([args.tune] if args.tune else [])]:
        if not (folder / "wav.scp").exists():
            raise UserError(f"{folder}/wav.scp: not found; run stage 1 first")

    from spft.recognizer import Recognizer
    from spft.search.phrases import Phrases

    last = "second" if args.phrases else "lm" if external else "plain"
    phrases = Phrases.of(args.phrases) if args.phrases else None
    for system, folder in systems:
        report = {"config": asdict(config), "sha256": checksums(args, Path(folder))}
        earlier = args.out / system / f"decode_{last}" / "decode.json"
        found = json.loads(earlier.read_text("utf-8")) if earlier.exists() else {}
        if args.resume and report.items() <= found.items():
            print(f"finished already: {args.out / system}", file=sys.stderr)
            continue
        recognizer = Recognizer(folder, config, external)
        decode_system(recognizer, args, fixed, phrases, args.out / system, report)
        del recognizer  # before the next one takes its memory


def checksums(args, model: Path) -> dict[str, str]:
    """sha256 of what a decode is made of, by path."""
    from spft.search.neural_lm import CHECKPOINTS

    files = [model / "model.safetensors"]
    if args.lm:
        files += [args.lm / name for name in CHECKPOINTS if (args.lm / name).exists()]
    if args.ngram:
        files.append(args.ngram / "ngram.arpa")
    if args.phrases:
        files += [args.phrases / name for name in ("text", "entities", "names.txt")]
    for folder in [*args.data, *([args.tune] if args.tune else [])]:
        files += [folder / "wav.scp", args.dump / folder.name / "first_pass"]
    if args.tune:
        files += [args.tune / "text", args.tune / "entities"]
    return {str(path): sha256(path) for path in files if path.exists()}


def decode_system(
    recognizer, args, fixed: dict, phrases, out: Path, report: dict
) -> None:
    """Decode all sets with one model, in the ways that the arguments ask for.

    Args:
        recognizer: of the model.
        args: of the command.
        fixed: weights of external LMs that are not to be chosen.
        phrases: for the second pass; None: there is none.
        out: folder to write.
        report: what goes into every ``decode.json``.
    """
    searches: dict[tuple, tuple] = {}

    def search(folder: Path, weights: dict[str, float]) -> tuple:
        """What :func:`recognise` returns, each search done once."""
        used = {name: weight for name, weight in weights.items() if weight}
        key = (folder, *used.items())
        if key not in searches:
            searches[key] = recognise(recognizer, folder, args.dump, used)
        return searches[key]

    def search_all(weights: dict[str, float]) -> dict[str, tuple]:
        return {folder.name: search(folder, weights) for folder in args.data}

    def write(tag: str, found: dict, weights: dict, sweep: list[dict]) -> None:
        for name, (results, _) in found.items():
            write_results(out / f"decode_{tag}" / name, results, recognizer)
        timing = {name: timing for name, (_, timing) in found.items()}
        rows = report | {"weights": weights, "timing": timing, "sweep": sweep}
        with atomic_write(out / f"decode_{tag}" / "decode.json") as stream:
            json.dump(rows, stream, indent=2)

    weights, sweep = fixed, []
    if args.tune:
        weights, sweep = tune(recognizer, args.tune, search)
    # Without LMs there is one row, of no weights.
    plain = [{"error": row["error"]} for row in sweep[:1]]
    write("plain", search_all({}), {}, plain)
    if not recognizer.scorers:
        return
    weights = {name: weights[name] for name in recognizer.scorers}
    write("lm", search_all(weights), weights, sweep)
    if phrases is not None:
        chosen, sweep, found = second_pass(recognizer, args, phrases, search, weights)
        write("second", found, chosen, sweep)


def second_pass(recognizer, args, phrases, search, weights: dict[str, float]) -> tuple:
    """Look again at what the search with LMs found.

    Returns:
        The weights chosen on dev, what was tried, and the results of all sets.
    """
    from spft.scoring.dev_set import DevSet
    from spft.search.second_pass import SecondPass
    from spft.search.tuning import grid_search

    config, again = recognizer.config, SecondPass(recognizer, phrases)
    bonus = config.lm_length_bonus

    def candidates(folder: Path) -> tuple[dict, float]:
        start = time.perf_counter()
        nbests, timing = search(folder, weights)
        speech = speech_of(folder, args.dump)
        found = again.candidates(speech, nbests, folder.name)
        return found, timing["seconds"] + time.perf_counter() - start

    found, _ = candidates(args.tune)
    dev = DevSet(args.tune)
    errors = {u: [dev.errors(u, text) for text in c.texts] for u, c in found.items()}
    judges = next(iter(found.values())).log_probs
    grids = {n: grid for n, grid in config.second_pass_weights.items() if n in judges}
    chosen, sweep = grid_search(grids, found, errors, bonus)
    print(f"{args.tune.name} second pass: {chosen}", flush=True)
    results = {}
    for folder in args.data:
        found, seconds = candidates(folder)
        ranked = {u: c.ranked(chosen, bonus) for u, c in found.items()}
        results[folder.name] = ranked, _timing(folder, ranked, seconds)
    return chosen, sweep, results


@functools.cache
def speech_of(folder: Path, dump: Path):
    """The speech of a data directory; one source for all systems and searches.

    It remembers what the first pass's decoder said of a text, which costs a quarter of
    a search; so in ``decode.json`` what was not searched first looks faster than alone.
    """
    from spft.data.speech import find_speech

    return find_speech(folder, dump)


def recognise(recognizer, folder: Path, dump: Path, weights: dict[str, float]):
    """Decode a data directory; return n-best lists by utterance, and timing."""
    start = time.perf_counter()
    speech = speech_of(folder, dump)
    name = " ".join([folder.name, *(f"{k}={v}" for k, v in weights.items())])
    results = recognizer.decode(speech, weights, name)
    return results, _timing(folder, results, time.perf_counter() - start)


def _timing(folder: Path, results: dict, seconds: float) -> dict[str, float]:
    from spft.data.audio import duration
    from spft.data.table import read_table

    audio = sum(duration(path) for path in read_table(folder / "wav.scp").values())
    tokens = sum(len(nbest[0].tokens) for nbest in results.values() if nbest)
    timing = {"seconds": round(seconds, 2), "audio_seconds": round(audio, 2)}
    return timing | {"rtf": round(seconds / audio, 4), "tokens": tokens}


def tune(recognizer, folder: Path, search):
    """Choose the external LMs' weights by the errors on ``folder``.

    Returns:
        The best weights, and the error rate (%) of all that were tried.
    """
    from spft.scoring.dev_set import DevSet
    from spft.search.tuning import one_by_one

    config, dev = recognizer.config, DevSet(folder)
    grids = {"lm": config.lm_weights, "ngram": config.ngram_weights}
    grids = {name: grid for name, grid in grids.items() if name in recognizer.scorers}

    def errors(weights: dict[str, float]) -> float:
        results, _ = search(folder, weights)
        rate = dev.error_rate(recognizer.best_texts(results))
        print(f"{folder.name} {weights}: {dev.measure} {rate:.2f}", flush=True)
        return rate

    return one_by_one(grids, errors)


def write_results(out: Path, results: dict, recognizer) -> None:
    """Write the best hypotheses as Kaldi ``text`` and all as ``nbest.jsonl``."""
    from spft.data.normalize import normalize

    with atomic_write(out / "text") as stream:
        for utterance, text in sorted(recognizer.best_texts(results).items()):
            stream.write(f"{utterance} {normalize(text)}".rstrip() + "\n")
    with atomic_write(out / "nbest.jsonl") as stream:
        for utterance in sorted(results):
            for rank, hypothesis in enumerate(results[utterance], 1):
                row = {
                    "utt": utterance,
                    "rank": rank,
                    "text": recognizer.text(hypothesis),
                    "score": hypothesis.score,
                    "parts": hypothesis.parts,
                    "truncated": hypothesis.truncated,
                }
                stream.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    run(main)

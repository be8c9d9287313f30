"""Recognise test sets by beam search, without and with shallow fusion (stage 7).

    python -m spft.bin.decode --out exp/music \
        --systems base=exp/baseline soft_prompt=exp/music/soft_prompt \
        --data data/music_test data/general_test \
        --lm exp/music/lm --ngram exp/music/ngram --tune data/music_dev

Writes ``<out>/<system>/decode_plain/<set>/{text,nbest.jsonl}``, with external LMs also
``decode_lm``. Each has a ``decode.json``: weights and timing. The weights are those of
the configuration with the lowest WER on ``--tune``, a development set, or the lowest
EER where it has no transcripts.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from spft.errors import UserError, run
from spft.search import decodes

if TYPE_CHECKING:
    from spft.data.speech import SpeechSource
    from spft.recognizer import Recognizer
    from spft.search.hypothesis import Hypothesis


def get_parser() -> argparse.ArgumentParser:
    """Build the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    decodes.add_options(parser)
    add = parser.add_argument
    add("--tune", type=Path, help="development set to choose the weights on")
    add("--lm_weight", type=float, help="fixed weight, instead of --tune")
    add("--ngram_weight", type=float, help="fixed weight, instead of --tune")
    return parser


def main() -> None:
    """Run the command."""
    args = get_parser().parse_args()
    config, external = decodes.read_options(args)
    fixed = {"lm": args.lm_weight, "ngram": args.ngram_weight}
    if unread := [name for name in fixed if fixed[name] and name not in external]:
        raise UserError(f"--{unread[0]}_weight: add --{unread[0]}")
    if external and not args.tune and any(fixed[name] is None for name in external):
        raise UserError("an external LM needs --tune DEV_SET, or its weight")
    if args.tune and any(weight is not None for weight in fixed.values()):
        raise UserError("--tune chooses the weights; leave --lm_weight and "
                        "--ngram_weight out")  # fmt: skip

    systems = decodes.find_systems(args.systems, args.only)
    sets = decodes.find_sets(
        [*args.data, *([args.tune] if args.tune else [])], args.dump
    )
    on_dev = [args.tune / name for name in ("text", "entities")] if args.tune else []
    tags = {"plain": {}, "lm": external} if external else {"plain": {}}
    for system, folder in systems:
        out = args.out / system
        made_of = {
            tag: {
                "config": config.of_search(),
                "fixed_weights": fixed,
                "sha256": decodes.checksums(folder, lms, sets, args.dump, on_dev),
            }
            for tag, lms in tags.items()
        }
        if all(
            decodes.is_finished(out / f"decode_{tag}", of, args.resume)
            for tag, of in made_of.items()
        ):
            print(f"finished already: {out}/decode_{[*made_of][-1]}", file=sys.stderr)
            continue
        from spft.recognizer import Recognizer  # slow to import

        recognizer = Recognizer(folder, config, external)
        decode_system(recognizer, sets, args.tune, fixed, out, made_of)
        del recognizer  # before the next one takes its memory


def decode_system(
    recognizer: "Recognizer",
    sets: dict[Path, "SpeechSource"],
    dev: Path | None,
    fixed: dict[str, float | None],
    out: Path,
    made_of: dict[str, dict],
) -> None:
    """Decode all sets with one model, without and with external LMs.

    Args:
        recognizer: of the model.
        sets: data directories and their speech.
        dev: that of them to choose weights on; None: they are fixed.
        fixed: weights of external LMs that are not to be chosen.
        out: folder to write.
        made_of: what goes into each ``decode.json``, by its tag.
    """
    searches: dict[tuple, tuple] = {}

    def search(folder: Path, weights: dict[str, float]) -> tuple:
        """What :func:`recognise` returns, each search done once."""
        used = {name: weight for name, weight in weights.items() if weight}
        key = (folder, *used.items())
        if key not in searches:
            searches[key] = recognise(recognizer, folder, sets[folder], used)
        return searches[key]

    def decode(tag: str, weights: dict[str, float], sweep: list[dict]) -> None:
        timing, folder = {}, out / f"decode_{tag}"
        decodes.forget_report(folder)
        for data in sets:
            results, timing[data.name] = search(data, weights)
            decodes.write_results(folder / data.name, results, recognizer.llm)
        report = {"weights": weights, "timing": timing, "sweep": sweep}
        decodes.write_report(folder, made_of[tag] | report)

    weights, sweep = fixed, []
    if dev:
        weights, sweep = tune(recognizer, dev, search)
    # Without LMs there is one row, of no weights.
    decode("plain", {}, [{"error": row["error"]} for row in sweep[:1]])
    if recognizer.scorers:
        decode("lm", {name: weights[name] for name in recognizer.scorers}, sweep)


def recognise(
    recognizer: "Recognizer",
    folder: Path,
    speech: "SpeechSource",
    weights: dict[str, float],
) -> tuple[dict[str, list["Hypothesis"]], dict]:
    """Decode a data directory; return n-best lists by utterance, and timing."""
    start = time.perf_counter()
    name = " ".join([folder.name, *(f"{k}={v}" for k, v in weights.items())])
    results = recognizer.decode(speech, weights, name)
    return results, decodes.timing(folder, results, time.perf_counter() - start)


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


if __name__ == "__main__":
    run(main)

"""Judge n-best lists again, with phrases of the domain's text among them (stage 7).

    python -m spft.bin.second_pass --out exp/music \
        --systems base=exp/baseline soft_prompt=exp/music/soft_prompt \
        --data data/music_test data/general_test \
        --tune data/music_dev --protect data/general_dev \
        --lm exp/music/lm --ngram exp/music/ngram --phrases data/music_text/train

Phrases of the domain that are spelt like what was heard join the n-best lists of
``<out>/<system>/decode_lm``, which ``spft.bin.decode`` wrote for all these sets; all
that judges in the search judges them once more. Writes ``decode_second`` beside it. The
weights are those of the configuration's grid with the lowest error rates on ``--tune``,
a development set of the domain, and ``--protect``, one of other speech, which names of
the domain must not get into. There, and wherever a text is hardly of the domain, its
language models have no say: chosen with the weights is a gate, the least
likelihood ratio (see :class:`spft.search.candidates.Candidates`) that lets them.
"""

import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from spft.errors import UserError, run
from spft.search import decodes
from spft.search.config import DecodeConfig

if TYPE_CHECKING:
    from spft.data.speech import SpeechSource
    from spft.recognizer import Recognizer
    from spft.search.hypothesis import Hypothesis
    from spft.search.phrases import Phrases


def get_parser() -> argparse.ArgumentParser:
    """Build the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    decodes.add_options(parser)
    add = parser.add_argument
    add("--tune", required=True, type=Path, help="to choose the weights on")
    add("--protect", type=Path, help="general speech, to choose them on as well")
    add("--phrases", required=True, type=Path, help="text of the domain")
    return parser


def main() -> None:
    """Run the command."""
    args = get_parser().parse_args()
    config, external = decodes.read_options(args)
    if not external:
        raise UserError("a second pass needs --lm, --ngram or both")

    from spft.search.phrases import Phrases

    systems = decodes.find_systems(args.systems, args.only)
    tune = [args.tune, *([args.protect] if args.protect else [])]
    sets = decodes.find_sets([*tune, *args.data], args.dump)
    files = [args.phrases / name for name in ("text", "entities", "names.txt")]
    files += [folder / name for folder in tune for name in ("text", "entities")]
    phrases = Phrases.of(args.phrases)
    for system, model in systems:
        searched, out = args.out / system / "decode_lm", args.out / system
        nbests = {
            folder: decodes.read_results(searched / folder.name, speech)
            for folder, speech in sets.items()
        }
        inputs = decodes.checksums(model, {}, sets, args.dump)
        check_search(config, inputs, decodes.read_report(searched), searched)
        lists = [searched / folder.name / "nbest.jsonl" for folder in sets]
        made_of = {
            "config": asdict(config),
            "tune": [str(folder) for folder in tune],
            "without": [str(file) for file in files if not file.exists()],
            "sha256": decodes.checksums(
                model, external, sets, args.dump, [*files, *lists]
            ),
        }
        if decodes.is_finished(out / "decode_second", made_of, args.resume):
            print(f"finished already: {out}/decode_second", file=sys.stderr)
            continue
        from spft.recognizer import Recognizer  # slow to import

        recognizer = Recognizer(model, config, external)
        judge_system(recognizer, phrases, sets, nbests, tune, out, made_of)
        del recognizer  # before the next one takes its memory


def judge_system(
    recognizer: "Recognizer",
    phrases: "Phrases",
    sets: dict[Path, "SpeechSource"],
    nbests: dict[Path, dict[str, list["Hypothesis"]]],
    tune: list[Path],
    out: Path,
    made_of: dict,
) -> None:
    """Judge all sets' n-best lists with one model.

    Args:
        recognizer: of the model.
        phrases: of the domain.
        sets: data directories and their speech.
        nbests: what was found in each of them.
        tune: those of them to choose weights on, and for nothing else.
        out: folder of the system.
        made_of: what goes into ``decode.json``.
    """
    from spft.search.second_pass import SecondPass

    again, config = SecondPass(recognizer, phrases), recognizer.config
    found, seconds = {}, {}
    for folder, speech in sets.items():
        start = time.perf_counter()
        found[folder] = again.candidates(speech, nbests[folder], folder.name)
        seconds[folder] = time.perf_counter() - start
    weights, sweep = choose_weights(config, found, tune)
    print(f"{out.name}: second pass {weights}", flush=True)
    search = decodes.read_report(out / "decode_lm")["timing"]
    timing, second = {}, out / "decode_second"
    decodes.forget_report(second)
    for folder in (folder for folder in sets if folder not in tune):
        results = {
            utterance: candidates.ranked(weights, config.lm_length_bonus)
            for utterance, candidates in found[folder].items()
        }
        decodes.write_results(second / folder.name, results, recognizer.llm)
        whole = seconds[folder] + search[folder.name]["seconds"]
        timing[folder.name] = decodes.timing(folder, results, whole)
    report = {"weights": weights, "timing": timing, "sweep": sweep}
    decodes.write_report(second, made_of | report)


def check_search(
    config: DecodeConfig, inputs: dict[str, str], report: dict, folder: Path
) -> None:
    """Refuse n-best lists whose scores would not be comparable with those made here.

    Args:
        config: of the second pass.
        inputs: sha256 of its model and features, by path.
        report: of the search.
        folder: where it stands.

    Raises:
        UserError: the search's configuration, model or features differ.
    """
    for key in ("first_pass_weight", "keep_prompt"):
        wanted = getattr(config, key)
        if (found := report["config"][key]) != wanted:
            raise UserError(
                f"{folder}: searched with {key} {found}, not {wanted}; give the "
                "search's --config, or decode again"
            )
    for path, checksum in inputs.items():
        if report["sha256"].get(path) != checksum:
            raise UserError(
                f"{folder}: not of {path} as it is now; run spft.bin.decode again, "
                "with the same paths"
            )


def choose_weights(
    config: DecodeConfig, found: dict[Path, dict], tune: list[Path]
) -> tuple:
    """Choose the judges' weights by the mean error rate on development sets.

    Args:
        config: with the grids.
        found: candidates of each set.
        tune: the development sets.

    Returns:
        The weights, and what was tried; see :func:`spft.search.tuning.grid_search`.
    """
    from spft.scoring.dev_set import DevSet
    from spft.search.tuning import grid_search

    candidates, errors = {}, {}
    for folder in tune:
        dev = DevSet(folder)
        for utterance, texts in found[folder].items():
            key = folder, utterance
            candidates[key] = texts
            errors[key] = [dev.errors(utterance, t) / len(tune) for t in texts.texts]
    judges = next(iter(candidates.values())).log_probs
    grids = {n: grid for n, grid in config.second_pass_weights.items() if n in judges}
    if not grids:
        raise UserError(
            f"second_pass_weights: the system has none of these judges, but "
            f"{', '.join(sorted(judges))}; name one of them"
        )
    return grid_search(grids, config.gates, candidates, errors, config.lm_length_bonus)


if __name__ == "__main__":
    run(main)

"""The second pass: what it adds to the search, and what judging many at once gains.

    python -m benchmarks.second_pass --model exp/baseline --data data/music_test \
        --lm exp/music/lm --ngram exp/music/ngram --phrases data/music_text/train

However many utterances are judged at once, candidates and scores must be the same. Each
time as after the search: what a pass remembers (Moonshine's scores, spellings that were
looked for) is not there for the next.
"""

import copy
import sys
from pathlib import Path

import torch

from benchmarks.common import seconds, table
from benchmarks.search import WEIGHTS, device, first, get_parser
from spft.data.speech import find_speech
from spft.recognizer import Recognizer
from spft.search import second_pass
from spft.search.config import DecodeConfig
from spft.search.phrases import Phrases


def main() -> None:
    """Run and print."""
    parser = get_parser(__doc__)
    parser.add_argument("--phrases", type=Path, required=True, help="the domain's text")
    parser.add_argument("--utterances", type=int, default=64)
    parser.add_argument("--at_once", type=int, nargs="+", default=[1, 4, 8, 16])
    args = parser.parse_args()

    config = DecodeConfig.read("conf/decode.yaml")
    external = {"lm": args.lm, "ngram": args.ngram}
    recognizer = Recognizer(args.model, config, external)
    speech = first(find_speech(args.data, args.dump), args.utterances)
    where = device(recognizer)
    recognizer.decode(first(speech, 1), WEIGHTS)  # loads what is loaded once
    nbests = {}
    search = seconds(lambda: nbests.update(recognizer.decode(speech, WEIGHTS)), where)
    asked = copy.deepcopy(speech.first_pass_scores)
    expected, rows = None, []
    for count in (args.at_once[0], *args.at_once):  # the first of all warms up
        second_pass.UTTERANCES = count
        found: dict = {}
        speech.first_pass_scores.clear()
        speech.first_pass_scores.update(copy.deepcopy(asked))
        again = second_pass.SecondPass(recognizer, Phrases.of(args.phrases))

        def judge(again=again, found=found) -> None:
            found.update(again.candidates(speech, nbests))

        spent = seconds(judge, where)
        if expected is None:
            expected = found
            continue
        difference = largest_difference(expected, found)
        each = len(found) / spent
        rows.append([count, each, spent / search, f"{difference:.1g}"])
        if difference > 1e-2 and recognizer.llm.dtype == torch.float32:
            sys.exit(f"error: {count} at once are judged otherwise than alone")
    print(f"{len(nbests)} utterances; the search: {len(nbests) / search:.3g} utt/s\n")
    header = ["at once", "utt/s", "of the search's time", "largest difference (nats)"]
    print(table(header, rows))


def largest_difference(expected, found) -> float:
    """Of any judge on any candidate; infinite where the candidates differ."""
    if any(expected[u].texts != found[u].texts for u in expected):
        return float("inf")
    differences = (
        abs(a - b)
        for u, candidates in expected.items()
        for judge, log_probs in candidates.log_probs.items()
        for a, b in zip(log_probs, found[u].log_probs[judge], strict=True)
        if a != b  # both may be minus infinity
    )
    return max(differences, default=0.0)


if __name__ == "__main__":
    main()

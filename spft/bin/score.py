"""python -m spft.bin.score --data data/music_test --decode DIR [DIR...].

Add --adaptation_text FILE to tell entities seen in adaptation from unseen ones.
Scores the hypotheses ``DIR/text`` of each: word errors into ``DIR/score_wer/``
(sclite), entity errors into ``DIR/score_entity/``, and the rates in percent into
``DIR/score.json``.
"""

import argparse
import json
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from spft.errors import run


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="data directory of the test set"
    )
    parser.add_argument(
        "--decode",
        type=Path,
        nargs="+",
        required=True,
        help="decode directories of the set, each with a `text`",
    )
    parser.add_argument(
        "--adaptation_text",
        type=Path,
        help="Kaldi text that tells entities seen in adaptation from unseen ones",
    )
    return parser


def main() -> None:
    """Score each decode of the set."""
    from spft.scoring.inputs import read_transcripts

    args = get_parser().parse_args()
    text = args.adaptation_text and read_transcripts(args.adaptation_text).values()
    for decode in args.decode:
        scores = score(args.data, decode, text)
        rates = [
            f"{name.upper()} {scores[name]:.2f} %"
            for name in ("wer", "ser", "eer", "eer_seen", "eer_unseen")
            if scores.get(name) is not None
        ]
        print(f"{decode}: {', '.join(rates) or 'nothing to score'}")


def score(
    data: Path, decode: Path, text: Collection[Sequence[str]] | None = None
) -> dict:
    """Score, write everything and return what ``score.json`` holds.

    Rates are percentages, and None where there is nothing to count: a set without
    transcripts has no ``wer``, one without entities no ``eer``.

    Args:
        data: directory of the test set.
        decode: of its hypotheses.
        text: sentences of the adaptation text, as words.
    """
    from spft.files import atomic_write
    from spft.scoring.entity import judge_entities, write_entity_scores
    from spft.scoring.inputs import read_scoring_set
    from spft.scoring.wer import score_wer

    # A failed run must not leave the scores of older hypotheses behind.
    (decode / "score.json").unlink(missing_ok=True)
    for name in ("score_wer", "score_entity"):
        shutil.rmtree(decode / name, ignore_errors=True)
    test = read_scoring_set(data, decode)
    scores = {"utterances": len(test.hyps), "wer": None, "eer": None}
    if test.refs is not None:
        counts = score_wer(test.refs, test.hyps, test.speakers, decode / "score_wer")
        scores |= {
            "wer": 100 * counts.errors / counts.words,
            "words": counts.words,
            "corr": counts.correct,
            "sub": counts.substitutions,
            "del": counts.deletions,
            "ins": counts.insertions,
            "ser": 100 * counts.sentence_errors / counts.sentences,
        }
    if test.entities is not None:
        judged = judge_entities(test.refs, test.hyps, test.entities, text or None)
        summary = write_entity_scores(judged, test.entities, decode / "score_entity")
        scores |= {key: summary[key] for key in ("eer", "entities", "by_type")}
        for part in ("seen", "unseen"):
            scores[f"eer_{part}"] = summary[part]["eer"]
            scores[f"entities_{part}"] = summary[part]["entities"]
        scores["by_span"] = summary["by_span"]
    with atomic_write(decode / "score.json") as stream:
        json.dump(scores, stream, indent=1)
    return scores


if __name__ == "__main__":
    run(main)

import random
import re
import subprocess

import jiwer
import pytest

from spft.scoring.align import WordCounts, align, count
from spft.scoring.wer import find_tool, write_trn


def random_pairs(n, longest=14, seed=1):
    """Short words from a small vocabulary: many ties between alignments."""
    rng = random.Random(seed)
    words = [
        [tuple(rng.choices("abcde", k=rng.randint(0, longest))) for _ in range(n)]
        for _ in range(2)
    ]
    return [{f"u{i}": text for i, text in enumerate(texts)} for texts in words]


def sclite_paths(refs, hyps, folder):
    """sclite's alignments as its sgml writes them: utterance -> steps."""
    for name, texts in (("ref", refs), ("hyp", hyps)):
        write_trn(folder / f"{name}.trn", texts, dict.fromkeys(texts, "spk"))
    command = [find_tool("sclite"), "-r", "ref.trn", "trn", "-h", "hyp.trn", "trn"]
    out = subprocess.run(
        [*command, "-i", "rm", "-o", "sgml", "stdout"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = re.findall(r'<PATH id="\(spk-(\w+)\)".*\n(?:([CSDI],.*)\n)?', out)
    return {utt: path.split(":") if path else [] for utt, path in found}


@pytest.mark.skipif(not find_tool("sclite"), reason="sclite is not installed")
def test_alignments_are_those_of_sclite(tmp_path):
    refs, hyps = random_pairs(1000)
    theirs = sclite_paths(refs, hyps, tmp_path)
    assert len(theirs) == 1000
    for utt, path in theirs.items():
        ours = [
            ",".join([w.op, *(f'"{x}"' if x else "" for x in (w.ref, w.hyp))])
            for w in align(refs[utt], hyps[utt])
        ]
        assert ours == path


def test_no_better_than_unit_costs_and_equal_where_errors_are_few():
    refs, hyps = random_pairs(200, seed=2)
    for utt, ref in refs.items():
        if not ref:
            continue
        best = jiwer.process_words(" ".join(ref), " ".join(hyps[utt]))
        errors = best.substitutions + best.deletions + best.insertions
        assert count(align(ref, hyps[utt])).errors >= errors
    text = "play the new song by the band please"
    for hyp in ("play new song by the the band", "play a new long song by band please"):
        best = jiwer.process_words(text, hyp)
        counts = count(align(text.split(), hyp.split()))
        assert (counts.substitutions, counts.deletions, counts.insertions) == (
            best.substitutions,
            best.deletions,
            best.insertions,
        )


def test_counts_add_up():
    counts = count(align("abc", "axcd"))
    assert counts == WordCounts(1, 3, 2, 1, 0, 1, 1)
    assert counts + count(align(["a"], ["a"])) == WordCounts(2, 4, 3, 1, 0, 1, 1)
    assert counts.errors == 2
    assert align([], []) == []

import random

import numpy as np
import pytest

from spft.errors import UserError
from spft.scoring import significance
from spft.scoring.align import align
from spft.scoring.significance import (
    mapsswe,
    own_mapsswe,
    segment_differences,
    segment_errors,
    sign_flips,
)
from spft.scoring.wer import find_tool

needs_sctk = pytest.mark.skipif(
    not (find_tool("sclite") and find_tool("sc_stats")), reason="sctk is not installed"
)


def without_sctk(*texts):
    return own_mapsswe(segment_differences(*texts))


def corrupt(words, rate, rng):
    out = []
    for word in words:
        kind = rng.choice("sdi") if rng.random() < rate else "c"
        out += {"c": [word], "s": [rng.choice("vwxyz")], "d": []}.get(kind, [word, "z"])
    return tuple(out)


def systems(rate_a, rate_b, seed, n=80):
    rng = random.Random(seed)
    refs = {f"U-{i}": tuple(rng.choices("abcdefgh", k=9)) for i in range(n)}
    return (
        refs,
        {utt: corrupt(words, rate_a, rng) for utt, words in refs.items()},
        {utt: corrupt(words, rate_b, rng) for utt, words in refs.items()},
    )


@needs_sctk
@pytest.mark.parametrize("seed", range(8))
def test_own_test_agrees_with_sc_stats(seed):
    # Insertions at the end of sentences are among the errors.
    refs, a, b = systems(0.2, 0.13, seed)
    theirs = mapsswe(refs, a, b)
    assert 0 < theirs < 1
    assert without_sctk(refs, a, b) == pytest.approx(theirs, abs=1e-3)
    assert mapsswe(refs, b, a) == pytest.approx(theirs, abs=1e-6)


@needs_sctk
def test_sc_stats_and_ours_count_edges_alike():
    """Insertions at the end in one system only, empty references and hypotheses."""
    refs = {f"u{i}": tuple("abc") for i in range(30)} | {"v": (), "w": tuple("ab")}
    ends = {
        utt: (*words, *"xy"[: i % 3]) for i, (utt, words) in enumerate(refs.items())
    }
    for other in (ends, ends | {"v": tuple("z")}, ends | {"v": (), "w": ()}):
        theirs = mapsswe(refs, refs, other)
        assert theirs == mapsswe(refs, other, refs) < 0.001
        assert without_sctk(refs, refs, other) == pytest.approx(theirs, rel=0.05)


def test_without_sctk_our_own_test_is_used(monkeypatch):
    refs, a, b = systems(0.3, 0.02, 0)
    monkeypatch.setattr(significance, "find_tool", lambda name: None)
    assert mapsswe(refs, a, b) == without_sctk(refs, a, b) < 0.001
    assert mapsswe(refs, a, a) == without_sctk(refs, a, a) == 1


def test_segments_end_after_two_words_right_in_both():
    ref = "abcdefg"
    a = align(ref, "xbcdefg")
    b = align(ref, "abydefgh")
    # a's error, one good word, b's error; then two good words end the segment.
    assert segment_errors(a, b) == [(1, 1), (0, 1)]
    assert segment_errors(b, a) == [(1, 1), (1, 0)]
    far = align(ref, "abcdyfg")
    assert segment_errors(a, far) == [(1, 0), (0, 1)]
    inserted = align(ref, "abczdefg")
    assert segment_errors(a, inserted) == [(1, 0), (0, 1)]
    assert segment_errors(align(ref, ref), align(ref, ref)) == []


def test_systems_on_different_utterances_are_refused():
    with pytest.raises(UserError, match="different utterances"):
        mapsswe({"u": ("a",)}, {"u": ("a",)}, {"v": ("a",)})
    with pytest.raises(UserError, match="different entities"):
        sign_flips({"u": 1}, {"v": 1})


def test_sign_flips():
    rng = np.random.default_rng(0)
    a = {str(i): int(n) for i, n in enumerate(rng.integers(3, size=150))}
    assert sign_flips(a, a) == 1
    better = {utt: max(0, n - 1) for utt, n in a.items()}
    assert sign_flips(a, better) < 0.001
    assert sign_flips(better, a) == sign_flips(a, better)
    shuffled = dict(zip(a, rng.permutation(list(a.values())), strict=True))
    assert sign_flips(a, shuffled) > 0.5  # the same total, other utterances


@pytest.mark.parametrize("differing", [1, 3, 5, 8, 12])
def test_few_differences_are_judged_exactly(differing):
    worse = {str(i): int(i < differing) for i in range(200)}
    assert sign_flips(worse, dict.fromkeys(worse, 0)) == 2 * 0.5**differing


def test_sign_flips_agree_with_a_t_test():
    from scipy.stats import ttest_rel

    rng = np.random.default_rng(3)
    a, b = rng.binomial(2, 0.45, 300), rng.binomial(2, 0.39, 300)
    ours = sign_flips(dict(enumerate(a)), dict(enumerate(b)))
    assert ours == pytest.approx(ttest_rel(a, b).pvalue, abs=0.001)
    assert ours == sign_flips(dict(enumerate(a)), dict(enumerate(b)))


def test_one_error_more_in_each_sentence_is_a_difference():
    refs = {f"u{i:02}": ("one", "two") for i in range(12)}
    worse = {utterance: ("one",) for utterance in refs}
    # As likely as twelve coins that fall alike.
    for test in (mapsswe, without_sctk):
        assert test(refs, refs, worse) == 2**-11

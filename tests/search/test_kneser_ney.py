import itertools
import math
import random
import shutil

import kenlm
import pytest

from spft.search.kneser_ney import (
    BOS,
    EOS,
    FALLBACK,
    UNK,
    discounts,
    estimate,
    write_arpa,
)

LN10 = math.log(10)


def random_sentences(count: int, seed: int = 0) -> list[list[str]]:
    """Words with a Zipf-like distribution, the next one depending on the last."""
    rng = random.Random(seed)
    sentences = []
    for _ in range(count):
        words, last = [], 0
        for _ in range(rng.randint(1, 8)):
            last = (last * 3 + int(rng.paretovariate(1.1))) % 60
            words.append(str(last))
        sentences.append(words)
    return sentences


def load(path) -> kenlm.Model:
    config = kenlm.Config()
    config.show_progress = False
    return kenlm.Model(str(path), config)


def log_prob(probabilities, backoff, context, word) -> float:
    """Back-off recursion over the estimated tables."""
    gram = (*context, word)
    if gram in probabilities[len(gram) - 1]:
        return math.log(probabilities[len(gram) - 1][gram])
    weight = math.log(backoff.get(context, 1.0))
    return weight + log_prob(probabilities, backoff, context[1:], word)


def test_hand_computed_example():
    """Sentences "a b" and "a c", bigrams; the discounts are the fall-back ones."""
    probabilities, backoff = estimate([["a", "b"], ["a", "c"]], 2)
    # Unigrams: left contexts a 1 (<s>), b 1 (a), c 1 (a), </s> 2 (b, c); sum 5.
    # 0.5 is taken from each count of 1 and 1 from the count of 2: 2.5 / 5 goes to
    # the uniform distribution over a, b, c, </s>, <unk>.
    one, two = 0.5 / 5 + 0.5 / 5, 1 / 5 + 0.5 / 5
    assert probabilities[0] == pytest.approx(
        {("a",): one, ("b",): one, ("c",): one, (EOS,): two, (UNK,): 0.5 / 5}
    )
    # Bigrams: <s> a occurs twice; a b, a c, b </s> and c </s> once.
    assert backoff == pytest.approx(
        {(BOS,): 1 / 2, ("a",): 1 / 2, ("b",): 1 / 2, ("c",): 1 / 2}
    )
    assert probabilities[1] == pytest.approx(
        {
            (BOS, "a"): 1 / 2 + 1 / 2 * one,
            ("a", "b"): 0.5 / 2 + 1 / 2 * one,
            ("a", "c"): 0.5 / 2 + 1 / 2 * one,
            ("b", EOS): 0.5 / 1 + 1 / 2 * two,
            ("c", EOS): 0.5 / 1 + 1 / 2 * two,
        }
    )


def test_discounts():
    from collections import Counter

    # 8, 4, 2 and 1 n-grams with counts 1, 2, 3 and 4: y = 8 / 16.
    sizes = {1: 8, 2: 4, 3: 2, 4: 1}
    counts = Counter({(c, i): c for c, n in sizes.items() for i in range(n)})
    expected = (1 - 2 * 0.5 * 4 / 8, 2 - 3 * 0.5 * 2 / 4, 3 - 4 * 0.5 * 1 / 2)
    assert discounts(counts) == pytest.approx(expected)
    assert discounts(Counter({"a": 1})) == FALLBACK


@pytest.mark.parametrize("order", [2, 3, 4])
def test_sums_to_one_and_kenlm_agrees(order, tmp_path):
    sentences = random_sentences(80)
    probabilities, backoff = estimate(sentences, order)
    write_arpa(tmp_path / "x.arpa", probabilities, backoff)
    model = load(tmp_path / "x.arpa")
    assert model.order == order

    words = sorted({w for s in sentences for w in s})
    contexts = [(), (BOS,), (BOS, words[0]), (words[3], "never seen")]
    contexts += [tuple(s[:k]) for s in sentences[:20] for k in (1, 2, 3)]
    for context in contexts:
        state, following = kenlm.State(), kenlm.State()
        model.NullContextWrite(state)
        for word in context:
            if word == BOS:
                model.BeginSentenceWrite(state)
            else:
                model.BaseScore(state, word, following)
                state, following = following, state
        history = tuple(w if w in (BOS, *words) else UNK for w in context)
        history = history[-(order - 1) :]
        total = 0.0
        for word in (*words, EOS, UNK):
            queried = model.BaseScore(state, word, following) * LN10
            ours = log_prob(probabilities, backoff, history, word)
            assert queried == pytest.approx(ours, abs=2e-5)
            total += math.exp(queried)
        assert total == pytest.approx(1, abs=1e-4)


def test_likes_what_it_saw():
    sentences = random_sentences(80)
    probabilities, backoff = estimate(sentences, 3)

    def score(words):
        padded = (BOS, *words, EOS)
        return sum(
            log_prob(probabilities, backoff, padded[max(0, i - 2) : i], padded[i])
            for i in range(1, len(padded))
        )

    rng = random.Random(1)
    better = 0
    long = [s for s in sentences if len(s) > 4]
    for sentence in long:
        better += score(sentence) > score(rng.sample(sentence, len(sentence)))
    assert better > 0.8 * len(long)


@pytest.mark.skipif(not shutil.which("lmplz"), reason="lmplz is not on PATH")
@pytest.mark.parametrize("count", [12, 400])
def test_equals_lmplz(count, tmp_path):
    from spft.bin.train_ngram import run_lmplz

    sentences = random_sentences(count)
    write_arpa(tmp_path / "ours.arpa", *estimate(sentences, 3))
    run_lmplz(shutil.which("lmplz"), sentences, 3, tmp_path / "theirs.arpa")
    ours, theirs = load(tmp_path / "ours.arpa"), load(tmp_path / "theirs.arpa")
    for sentence in itertools.chain(sentences, random_sentences(50, seed=7)):
        text = " ".join(sentence)
        assert ours.score(text) == pytest.approx(theirs.score(text), abs=1e-3)

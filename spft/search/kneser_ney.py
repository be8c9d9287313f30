"""Interpolated modified Kneser-Ney n-grams, written in ARPA format.

Chen and Goodman, "An empirical study of smoothing techniques for language modeling",
TR-10-98, Harvard 1998; with the conventions of KenLM's lmplz (Heafield et al., 2013):
unigrams are interpolated with the uniform distribution over the vocabulary, <unk> and
</s> included, which is all the mass that <unk> gets.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from spft.files import atomic_write

BOS, EOS, UNK = "<s>", "</s>", "<unk>"
# lmplz's --discount_fallback, for counts too few to estimate discounts from.
FALLBACK = (0.5, 1.0, 1.5)
Ngram = tuple[str, ...]


def adjusted_counts(sentences: Iterable[list[str]], order: int) -> list[Counter]:
    """Counts of each order 1..n: of occurrences in the highest, else of left contexts.

    N-grams that begin with <s> have no left context, so they keep their occurrences.
    """
    counts = [Counter() for _ in range(order)]
    for sentence in sentences:
        words = (BOS, *sentence, EOS)
        for n in range(1, order + 1):
            counts[n - 1].update(words[i : i + n] for i in range(len(words) - n + 1))
    adjusted = [
        Counter({g: c for g, c in lower.items() if g[0] == BOS})
        + Counter(g[1:] for g in higher)
        for lower, higher in pairwise(counts)
    ]
    adjusted.append(counts[-1])
    del adjusted[0][(BOS,)]  # <s> is never predicted
    return adjusted


def discounts(counts: Counter) -> tuple[float, float, float]:
    """What to subtract from counts of 1, 2 and at least 3."""
    t = Counter(counts.values())
    if not (t[1] and t[2] and t[3]):
        return FALLBACK
    y = t[1] / (t[1] + 2 * t[2])
    discounts = tuple(k - (k + 1) * y * t[k + 1] / t[k] for k in (1, 2, 3))
    if all(0 < d <= k for k, d in enumerate(discounts, 1)):
        return discounts
    return FALLBACK


def estimate(
    sentences: Iterable[list[str]], order: int
) -> tuple[list[dict[Ngram, float]], dict[Ngram, float]]:
    """Estimate an n-gram model.

    Args:
        sentences: lists of words, without <s> and </s>.
        order: the longest n-gram, at least 2.

    Returns:
        For each order the probabilities of its n-grams; and the back-off weights.
    """
    counts = adjusted_counts(sentences, order)
    vocabulary = [*counts[0], (UNK,)]
    lower = dict.fromkeys(vocabulary, 1 / len(vocabulary))
    probabilities, backoff = [], {}
    for n, grams in enumerate(counts, 1):
        discount = discounts(grams)
        totals, removed = defaultdict(int), defaultdict(float)
        for gram, count in grams.items():
            totals[gram[:-1]] += count
            removed[gram[:-1]] += discount[min(count, 3) - 1]
        weight = {context: removed[context] / totals[context] for context in totals}
        estimates = {
            gram: (count - discount[min(count, 3) - 1]) / totals[gram[:-1]]
            + weight[gram[:-1]] * lower[gram[1:] if n > 1 else gram]
            for gram, count in grams.items()
        }
        if n == 1:
            estimates[(UNK,)] = weight[()] * lower[(UNK,)]
        else:
            backoff |= weight
        probabilities.append(estimates)
        lower = estimates
    return probabilities, backoff


def write_arpa(
    path: str | Path,
    probabilities: list[dict[Ngram, float]],
    backoff: dict[Ngram, float],
) -> None:
    """Write what :func:`estimate` returns."""
    # By convention <s> is listed as a unigram that cannot be predicted.
    unigrams = {(BOS,): 0.0, **probabilities[0]}
    orders = [unigrams, *probabilities[1:]]
    with atomic_write(path) as stream:
        stream.write("\\data\\\n")
        for n, grams in enumerate(orders, 1):
            stream.write(f"ngram {n}={len(grams)}\n")
        for n, grams in enumerate(orders, 1):
            stream.write(f"\n\\{n}-grams:\n")
            for gram, p in sorted(grams.items()):
                line = f"{math.log10(p) if p else -99:.7f}\t{' '.join(gram)}"
                if n < len(orders):
                    line += f"\t{math.log10(backoff.get(gram, 1.0)):.7f}"
                stream.write(line + "\n")
        stream.write("\n\\end\\\n")

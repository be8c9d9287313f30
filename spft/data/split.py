"""Splitting by hash: stable whatever the order and whatever else is in the corpus."""

import hashlib
import heapq
import logging
from collections.abc import Iterable

from spft.data.leak import remove_leaks
from spft.data.utterance import Utterance

_log = logging.getLogger(__name__)


def fraction(key: str) -> float:
    """A number in [0, 1) that depends on ``key`` only."""
    digest = hashlib.blake2b(key.encode("utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def hold_out(
    utterances: Iterable[Utterance], share: float, salt: str = ""
) -> tuple[list[Utterance], list[Utterance]]:
    """Split into (kept, held out), about ``share`` of which is held out.

    Utterances of the same text stay together; those without text go by their id. What
    was split before needs another ``salt``, or its hashes are all of one side. Where
    there are so few that chance would hold none out, it is the last one.
    """
    kept: list[Utterance] = []
    held: list[Utterance] = []
    for utterance in utterances:
        key = utterance.id if utterance.text is None else utterance.text
        (held if fraction(salt + key) < share else kept).append(utterance)
    if not held and len(kept) > 1:
        held.append(kept.pop())
    return kept, held


def domain_sets(
    text: Iterable[Utterance], dev: list[Utterance], test: list[Utterance]
) -> dict[str, list[Utterance]]:
    """The four sets of a domain, by name.

    Args:
        text: of the domain. Sentences that hold one of dev or test are left out; 5 % of
            the others are for validation.
        dev: to choose weights on.
        test: to report.
    """
    clean, leaks = remove_leaks(list(text), dev + test)
    _log.info("dropped %d adaptation lines that hold a dev or test sentence", leaks)
    train, valid = hold_out(clean, 0.05)
    return {"text/train": train, "text/dev": valid, "dev": dev, "test": test}


def sample(utterances: list[Utterance], size: int | None) -> list[Utterance]:
    """At most ``size`` utterances, chosen by the hash of their ids; None: all."""
    if size is None or len(utterances) <= size:
        return utterances
    chosen = sorted(utterances, key=lambda u: fraction(u.id))[:size]
    return sorted(chosen, key=lambda u: u.id)


def unique(utterances: Iterable[Utterance]) -> list[Utterance]:
    """The first utterance of each text."""
    seen: dict[str | None, Utterance] = {}
    for utterance in utterances:
        seen.setdefault(utterance.text, utterance)
    return list(seen.values())


def others(utterances: Iterable[Utterance], known: list[Utterance]) -> list[Utterance]:
    """Those of ``utterances`` whose text none of ``known`` has."""
    texts = {utterance.text for utterance in known}
    return [utterance for utterance in utterances if utterance.text not in texts]


def cover(utterances: list[Utterance], size: int) -> list[Utterance]:
    """At most ``size`` utterances that hold as many different words as they may.

    Greedy: the next one is that with the most words not yet covered for its length.
    """
    covered: set[str] = set()
    chosen: list[Utterance] = []

    def gain(utterance: Utterance) -> float:
        words = utterance.text.split()
        return len(set(words) - covered) / (len(words) + 2)  # 2: a cost of its own

    # A gain only falls, so what is still the best with a fresh gain is the best of all.
    queue = [(-gain(u), i) for i, u in enumerate(utterances)]
    heapq.heapify(queue)
    while queue and len(chosen) < size:
        index = queue[0][1]
        fresh = -gain(utterances[index]), index
        if fresh > queue[0]:
            heapq.heapreplace(queue, fresh)
            continue
        heapq.heappop(queue)
        chosen.append(utterances[index])
        covered.update(utterances[index].text.split())
    return sorted(chosen, key=lambda u: u.id)

"""A second pass: what the search did not consider joins its n-best list.

In the best hypothesis and in the first pass, phrases of the domain's text take the
place of words that are spelt alike (:mod:`spft.search.phrases`). CTC head and n-gram
choose the few variants that are worth judging; then all that judges in the search
judges these and the n-best list alike, with weights of their own, chosen on the
development set.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from spft.data.normalize import normalize
from spft.llm import IGNORED
from spft.prefix import Prefix
from spft.search.beam import Hypothesis
from spft.search.ctc import CTCPrefixScorer
from spft.search.phrases import Phrases
from spft.search.scorers import PartialScorer, Scorer

# Which variants are worth the LLM's time: weights that did well on music's dev set. Of
# thirty, the two best by these held all that was gained.
PRESELECTION = {"ctc": 1.0, "ngram": 3.0}
LANGUAGE_MODELS = ("lm", "ngram")  # deletions would please them
ROUNDS = 2  # the second changes the variants kept in the first: two names may be wrong


@dataclass(frozen=True)
class Candidates:
    """The texts of one utterance and what each judge says of them.

    Attributes:
        texts: N.
        tokens: of each, in the LLM's vocabulary.
        log_probs: judge to ``[N]``, natural logarithms.
    """

    texts: list[str]
    tokens: list[list[int]]
    log_probs: dict[str, list[float]]

    def ranked(
        self, weights: Mapping[str, float], length_bonus: float
    ) -> list[Hypothesis]:
        """Best first, by the weighted sum of ``log_probs``.

        Args:
            weights: by judge; what is not there has weight 0, the LLM 1.
            length_bonus: added per token for each unit of the language models' weights.
        """
        weights = {"llm": 1.0} | {
            name: weights.get(name, 0.0) for name in self.log_probs if name != "llm"
        }
        bonus = length_bonus * sum(weights.get(k, 0.0) for k in LANGUAGE_MODELS)
        ranked = []
        for n, tokens in enumerate(self.tokens):
            parts = {k: w * self.log_probs[k][n] for k, w in weights.items() if w}
            if bonus:
                parts["length"] = bonus * (len(tokens) + 1)
            ranked.append(Hypothesis(tokens, sum(parts.values()), parts))
        return sorted(ranked, key=lambda hypothesis: -hypothesis.score)


class SecondPass:
    """Judge n-best lists again, with phrases of the domain among them.

    Args:
        recognizer: a :class:`spft.recognizer.Recognizer`, whose judges are asked; its
            configuration says how many variants are looked at and kept.
        phrases: of the domain.
    """

    def __init__(self, recognizer, phrases: Phrases):
        self.recognizer, self.phrases = recognizer, phrases
        self.config = recognizer.config

    def candidates(
        self,
        speech,
        nbests: Mapping[str, list[Hypothesis]],
        name: str | None = None,
    ) -> dict[str, Candidates]:
        """Collect and judge the candidates of all utterances.

        Args:
            speech: what was decoded, see :meth:`Recognizer.decode`.
            nbests: what was found in it, by utterance.
            name: for the progress bar; None shows none.
        """
        found = {}
        for u in tqdm(
            speech.lengths, desc=f"second pass {name}", unit="utt", disable=name is None
        ):
            texts = [normalize(self.recognizer.text(h)) for h in nbests[u]]
            found[u] = self._judge(speech.load(u), texts, speech.transcripts([u]))
        return found

    @torch.inference_mode()
    def _judge(self, speech, nbest: list[str], first_pass: list[str] | None):
        recognizer = self.recognizer
        frames, lengths = recognizer.encode([speech])
        judges = recognizer.judges(frames, lengths)
        seeds = list(dict.fromkeys([*nbest[:1], *(first_pass or [])]))
        texts = list(dict.fromkeys([*nbest, *seeds])) or [""]
        texts += self._variants(seeds, set(texts), judges)

        tokens = [recognizer.llm.encode(text) for text in texts]
        prefix, _ = recognizer.prefix(frames, lengths, first_pass)
        log_probs = {"llm": self._llm(prefix, tokens)}
        for name, judge in judges.items():
            log_probs[name] = self._score(judge, tokens).tolist()
        if recognizer.hearing:
            log_probs["first_pass"] = recognizer.hearing.score(frames[0], texts)
        return Candidates(texts, tokens, log_probs)

    def _variants(self, seeds: list[str], known: set[str], judges: dict) -> list[str]:
        kept: dict[str, float] = {}
        for _ in range(ROUNDS):
            new = dict.fromkeys(
                variant
                for seed in seeds
                for variant in self.phrases.variants(seed, self.config.variants)
                if variant not in known and variant not in kept
            )
            if not new:
                break
            tokens = [self.recognizer.llm.encode(text) for text in new]
            score = torch.zeros(len(tokens))
            for name, weight in PRESELECTION.items():
                if name in judges:
                    score += weight * self._score(judges[name], tokens)
            if "ngram" in judges:
                bonus = self.config.lm_length_bonus * PRESELECTION["ngram"]
                score += bonus * torch.tensor([len(row) + 1.0 for row in tokens])
            kept |= zip(new, score.tolist(), strict=True)
            best = sorted(kept.items(), key=lambda item: -item[1])
            kept = dict(best[: self.config.variants_kept])
            seeds = list(kept)
        return list(kept)

    def _llm(self, prefix: Prefix, tokens: list[list[int]]) -> list[float]:
        llm = self.recognizer.llm
        rows = [torch.tensor(row, dtype=torch.long) for row in tokens]
        lengths = torch.tensor([len(row) for row in rows], device=llm.device)
        text = pad_sequence(rows, batch_first=True, padding_value=IGNORED)
        with llm.autocast():
            losses = llm(prefix, text.to(llm.device), lengths)
        rows = losses.float().split((lengths + 1).tolist())
        return [-row.sum().item() for row in rows]

    def _score(self, judge, tokens: list[list[int]]) -> Tensor:
        llm = self.recognizer.llm
        if isinstance(
            judge, CTCPrefixScorer
        ):  # of one utterance, whose texts these are
            judge = judge.expand(len(tokens))
        return score_tokens(judge, tokens, llm.bos, llm.eos, llm.device).cpu()


def score_tokens(
    scorer: Scorer | PartialScorer,
    tokens: list[list[int]],
    bos: int,
    eos: int,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Log-probability ``[N]`` of each text with its eos, as the search would sum it."""
    steps = max(map(len, tokens)) + 1
    padded = [[*row, *[eos] * (steps - len(row))] for row in tokens]
    wanted = torch.tensor(padded, device=device)
    ends = torch.tensor([len(row) for row in tokens], device=device)
    last = torch.full_like(ends, bos)
    state = scorer.initial(len(tokens))
    total = torch.zeros(len(tokens), device=device)
    for step in range(steps):
        token = wanted[:, step, None]
        if hasattr(scorer, "score_partial"):
            score, state = scorer.score_partial(last, token, state)
        else:
            score, state = scorer.score(last, state)
            score = score.gather(1, token)
        total += score[:, 0].masked_fill(step > ends, 0.0)
        last = token[:, 0]
    return total


def choose_weights(
    candidates: Mapping[str, Candidates],
    grids: Mapping[str, Sequence[float]],
    length_bonus: float,
    error_rate: Callable[[dict[str, list[Hypothesis]]], float],
    start: Mapping[str, float],
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """Find the weights of fewest errors, one after the other until none is better.

    Args:
        candidates: of the utterances of a development set.
        grids: values to try, by judge.
        length_bonus: see :meth:`Candidates.ranked`.
        error_rate: of n-best lists.
        start: weights to begin with.

    Returns:
        The weights, and what was tried with its error rate, under "error".
    """
    judges = next(iter(candidates.values())).log_probs
    grids = {name: grid for name, grid in grids.items() if name in judges}
    weights = {name: start.get(name, 0.0) for name in grids}
    tried: dict[tuple, float] = {}

    def rate(weights: dict[str, float]) -> float:
        key = tuple(weights.values())
        if key not in tried:
            ranked = {u: c.ranked(weights, length_bonus) for u, c in candidates.items()}
            tried[key] = error_rate(ranked)
        return tried[key]

    best, before = rate(weights), float("inf")
    while best < before:
        before = best
        for name, grid in grids.items():
            for value in grid:
                changed = {**weights, name: value}
                if rate(changed) < best:
                    best, weights = rate(changed), changed
    sweep = [
        dict(zip(weights, key, strict=True)) | {"error": round(error, 2)}
        for key, error in tried.items()
    ]
    return weights, sweep

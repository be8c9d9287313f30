"""A second pass: what the search did not consider joins its n-best list.

In the best hypothesis and in the first pass, phrases of the domain's text take the
place of words that are spelt alike (:mod:`spft.search.phrases`). CTC head and n-gram
choose the few variants that are worth judging; then all that judges in the search
judges these and the n-best list alike, with weights of their own, chosen on the
development set.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from spft.data.normalize import normalize
from spft.data.speech import SpeechSource, Waveforms
from spft.projector.ctc import ALPHABET
from spft.recognizer import Recognizer
from spft.search.candidates import LANGUAGE_MODELS, Candidates, weigh
from spft.search.ctc import score_by_ctc
from spft.search.hypothesis import Hypothesis
from spft.search.judges import score_by_llm, score_by_lm
from spft.search.phrases import Phrases

# Which variants are worth the LLM's time: weights that did well on music's dev set. Of
# thirty, the two best by these held all that was gained.
PRESELECTION = {"ctc": 1.0, "ngram": 3.0}
UTTERANCES = 8  # at once: fills a CPU, and a GPU well enough
ROUNDS = 2  # the second changes the variants kept in the first: two names may be wrong


class SecondPass:
    """Judge n-best lists again, with phrases of the domain among them.

    Args:
        recognizer: whose judges are asked; its configuration says how many variants are
            looked at and kept.
        phrases: of the domain.
    """

    def __init__(self, recognizer: Recognizer, phrases: Phrases):
        self.recognizer, self.phrases = recognizer, phrases
        self.config = recognizer.config

    def candidates(
        self,
        speech: SpeechSource | Waveforms,
        nbests: Mapping[str, list[Hypothesis]],
        name: str | None = None,
    ) -> dict[str, Candidates]:
        """Collect and judge the candidates of all utterances.

        Args:
            speech: what was decoded, see :meth:`Recognizer.decode`.
            nbests: what was found in it, by utterance.
            name: for the progress bar; None shows none.
        """
        # By length of text: in the LLM's batches little is padding then.
        order = sorted(
            speech.lengths,
            key=lambda u: -max((len(h.tokens) for h in nbests[u]), default=0),
        )
        candidates = {}
        with tqdm(
            total=len(order), desc=f"second pass {name}", unit="utt", disable=not name
        ) as bar:
            for start in range(0, len(order), UTTERANCES):
                batch = order[start : start + UTTERANCES]
                candidates |= self._judge(batch, speech, nbests)
                bar.update(len(batch))
        return {u: candidates[u] for u in speech.lengths}

    @torch.inference_mode()
    def _judge(
        self,
        batch: list[str],
        speech: SpeechSource | Waveforms,
        nbests: Mapping[str, list[Hypothesis]],
    ) -> dict[str, Candidates]:
        recognizer = self.recognizer
        frames, lengths = recognizer.encode([speech.load(u) for u in batch])
        first_pass = speech.transcripts(batch)  # as what is read, or as a hypothesis
        joins = first_pass and self.config.first_pass_weight
        ctc = recognizer.ctc_log_probs(frames, lengths)
        found, said = {}, {}
        for i, (u, n) in enumerate(zip(batch, lengths.tolist(), strict=True)):
            found[u] = self._collect(
                nbests[u],
                first_pass[i : i + 1] if joins else [],
                None if ctc is None else ctc[i, :n],
            )
            said[u] = self._known_scores("llm", nbests[u], found[u])
        prefix, _ = recognizer.prefix(frames, lengths, first_pass)
        asked = [
            [text for text in candidates.texts if text not in said[u]]
            for u, candidates in found.items()
        ]
        encode = recognizer.llm.encode
        answers = score_by_llm(
            recognizer.llm, prefix, [[encode(text) for text in row] for row in asked]
        )
        written, judged = speech.written(batch), {}
        for i, (u, candidates) in enumerate(found.items()):
            llm = said[u] | dict(zip(asked[i], answers[i], strict=True))
            slow = {"llm": [llm[text] for text in candidates.texts]}
            if recognizer.moonshine:
                # Kept with the speech: other systems ask of the same texts.
                known = speech.first_pass_scores[u]
                known |= self._known_scores("first_pass", nbests[u], candidates)
                slow["first_pass"] = recognizer.moonshine.score(
                    frames[i, : lengths[i]], candidates.texts, written[i], known
                )
            judged[u] = replace(candidates, log_probs=candidates.log_probs | slow)
        return self._with_ratios(judged)

    def _with_ratios(self, judged: dict[str, Candidates]) -> dict[str, Candidates]:
        """The candidates with what tells whether their speech is of the domain."""
        llm, scorers = self.recognizer.llm, self.recognizer.scorers
        if not scorers:  # nothing is known of it
            return judged
        judge = "ngram" if "ngram" in scorers else "lm"
        likeliest = [np.argmax(c.log_probs["llm"]) for c in judged.values()]
        tokens = [c.tokens[n] for c, n in zip(judged.values(), likeliest, strict=True)]
        (without_audio,) = score_by_llm(llm, llm.empty_prefix(), [tokens])
        with_ratio = {}
        for (u, c), n, general in zip(
            judged.items(), likeliest, without_audio, strict=True
        ):
            ratio = (c.log_probs[judge][n] - general) / (len(c.tokens[n]) + 1)
            with_ratio[u] = replace(c, ratio=ratio)
        return with_ratio

    def _collect(
        self, nbest: list[Hypothesis], first_pass: list[str], ctc: Tensor | None
    ) -> Candidates:
        """One utterance's texts, with what the cheap judges say."""
        recognizer = self.recognizer
        searched = [normalize(recognizer.text(h)) for h in nbest]
        seeds = list(dict.fromkeys([*searched[:1], *first_pass])) or [""]
        texts = list(dict.fromkeys([*searched, *seeds]))
        texts += self._variants(seeds, set(texts), ctc)
        tokens = [recognizer.llm.encode(text) for text in texts]
        return Candidates(texts, tokens, self._cheap(texts, tokens, ctc))

    def _known_scores(
        self, judge: str, nbest: list[Hypothesis], candidates: Candidates
    ) -> dict[str, float]:
        """What a judge said in the search, of texts that it would be asked again."""
        config = self.config
        weight = config.first_pass_weight if judge == "first_pass" else 1.0
        coded = dict(zip(candidates.texts, candidates.tokens, strict=True))
        texts = [normalize(self.recognizer.text(h)) for h in nbest]
        return {
            text: h.parts[judge] / weight
            for text, h in zip(texts, nbest, strict=True)
            if judge in h.parts and not h.truncated and h.tokens == coded[text]
        }

    def _variants(
        self, seeds: list[str], known: set[str], ctc: Tensor | None
    ) -> list[str]:
        kept: dict[str, float] = {}
        for _ in range(ROUNDS):
            new = list(
                dict.fromkeys(
                    variant
                    for seed in seeds
                    for variant in self.phrases.variants(seed, self.config.variants)
                    if variant not in known and variant not in kept
                )
            )
            if not new:
                break
            tokens = [self.recognizer.llm.encode(text) for text in new]
            cheap = self._cheap(new, tokens, ctc, PRESELECTION.keys())
            bonus = self.config.lm_length_bonus
            parts = weigh(tokens, cheap, PRESELECTION, bonus)
            kept |= {t: sum(p.values()) for t, p in zip(new, parts, strict=True)}
            best = sorted(kept.items(), key=lambda item: -item[1])
            kept = dict(best[: self.config.variants_kept])
            seeds = list(kept)
        return list(kept)

    def _cheap(
        self,
        texts: list[str],
        tokens: list[list[int]],
        ctc: Tensor | None,
        only: Collection[str] = ("ctc", *LANGUAGE_MODELS),
    ) -> dict[str, list[float]]:
        """What CTC head and external LMs say."""
        log_probs = {}
        if ctc is not None and "ctc" in only:
            log_probs["ctc"] = score_by_ctc(ctc, texts, ALPHABET).tolist()
        for name in self.recognizer.scorers.keys() & set(only):
            log_probs[name] = self._language_model(name, texts, tokens)
        return log_probs

    def _language_model(
        self, name: str, texts: list[str], tokens: list[list[int]]
    ) -> list[float]:
        """Log-probabilities by an external LM, of new names as of others of their kind.

        A class's share of a context is the sum of its members', so a member that was
        not met is likely as the others are on the mean.
        """
        llm, scorer = self.recognizer.llm, self.recognizer.scorers[name]
        bonus = self.config.lm_length_bonus
        groups = [
            [row] if stand_ins == [text] else [llm.encode(t) for t in stand_ins]
            for text, row in zip(texts, tokens, strict=True)
            for stand_ins in [self.phrases.stand_ins(text)]
        ]
        rows = [row for group in groups for row in group]
        scores = score_by_lm(scorer, rows, llm.bos, llm.eos, llm.device)
        # The bonus that ranking gives the text's own tokens is that of its stand-in's.
        scores += bonus * torch.tensor([len(row) for row in rows], device=llm.device)
        means = [
            (part.logsumexp(0) - math.log(len(part))).item()
            for part in scores.split([len(group) for group in groups])
        ]
        return [m - bonus * len(row) for m, row in zip(means, tokens, strict=True)]

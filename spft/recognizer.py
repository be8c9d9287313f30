"""A trained model with its search: from speech to n-best lists."""

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from spft.adapt.soft_prompt import SoftPrompt
from spft.checkpoint import load_model, read_recognizer_weights
from spft.data.normalize import normalize
from spft.data.speech import SpeechSource, Waveforms
from spft.encoder.encoders import CachedEncoder
from spft.encoder.moonshine import Moonshine
from spft.prefix import Prefix
from spft.pretrained import resolve
from spft.projector.ctc import ALPHABET, CTCProjector
from spft.search.beam import BeamSearch, BeamSearchConfig
from spft.search.candidates import MIN_LOG_PROB
from spft.search.config import DecodeConfig
from spft.search.ctc import CTCPrefixScorer, Spelling, score_by_ctc
from spft.search.hypothesis import Hypothesis
from spft.search.judges import score_by_llm, score_by_lm
from spft.search.neural_lm import NeuralLM
from spft.search.ngram import NgramLM
from spft.search.scorers import PartialScorer, Scorer, WeightedScorer


class Recognizer:
    """Decode speech with a model and, fused, external LMs.

    Args:
        folder: experiment folder of the model.
        config: of the search.
        external: ``lm`` and ``ngram`` to their folders, as far as there are any.
        keep: keep what :meth:`switch` needs.
    """

    def __init__(
        self,
        folder: str | Path,
        config: DecodeConfig,
        external: dict[str, Path],
        keep: bool = False,
    ):
        self.config, self.keep = config, keep
        self.model = load_model(folder)
        if torch.cuda.is_available():
            self.model.cuda()
        self.llm = self.model.llm
        self.llm.merge(keep)
        self._spelling: Spelling | None = None
        self.scorers: dict[str, Scorer | PartialScorer] = self._load_external(external)

    def switch(
        self, folder: str | Path, config: DecodeConfig, external: dict[str, Path]
    ) -> None:
        """Take adapters, search and LMs of another domain, beside the same LLM.

        Needs ``keep``. A soft prompt is not among them: it is for training.

        Raises:
            UserError: something is missing or does not fit; all stays as it was.
        """
        scorers = self._load_external(external)
        weights = read_recognizer_weights(folder)
        self.llm.unmerge()
        try:
            self.model.load_stage(weights)
        finally:
            self.llm.merge(keep=True)
        self.config, self.scorers = config, scorers

    def _load_external(
        self, external: dict[str, Path]
    ) -> dict[str, Scorer | PartialScorer]:
        vocabulary = self.llm.model.get_output_embeddings().weight.shape[0]
        tokens = vocabulary, self.llm.bos, self.llm.eos
        scorers = {}
        if "lm" in external:
            lm = NeuralLM(external["lm"], *tokens, device=self.llm.device)
            scorers["lm"] = lm
        if "ngram" in external:
            scorers["ngram"] = NgramLM(external["ngram"], *tokens)
        return scorers

    def text(self, hypothesis: Hypothesis) -> str:
        """The words of a hypothesis."""
        return self.llm.decode(hypothesis.tokens)

    def best_texts(self, results: dict[str, list[Hypothesis]]) -> dict[str, str]:
        """The words of each best hypothesis; none where there is no hypothesis."""
        return {u: self.text(nbest[0]) if nbest else "" for u, nbest in results.items()}

    @functools.cached_property
    def moonshine(self) -> Moonshine | None:
        """The frozen encoder, and its own decoder, that made the model's frames."""
        if not isinstance(self.model.encoder, CachedEncoder):
            return None
        return Moonshine(resolve(self.model.encoder.extractor), self.llm.device.type)

    def decode(
        self,
        speech: SpeechSource | Waveforms,
        weights: dict[str, float],
        name: str | None = None,
    ) -> dict[str, list[Hypothesis]]:
        """Decode all utterances; those of similar length share a batch.

        Args:
            speech: what to decode.
            weights: of the external LMs, by name.
            name: for the progress bar; None shows none.
        """
        config = self.config
        search_config = BeamSearchConfig(
            beam=config.beam,
            length_bonus=config.length_bonus
            + config.lm_length_bonus * sum(weights.values()),
            no_repeat_ngram_size=config.no_repeat_ngram_size,
            pre_beam=max(config.pre_beam, 2 * config.beam),
        )
        order = sorted(speech.lengths, key=lambda u: -speech.lengths[u])
        results = {}
        with tqdm(
            total=len(order), desc=f"decoding {name}", unit="utt", disable=name is None
        ) as bar:
            for i in range(0, len(order), config.batch_size):
                batch = order[i : i + config.batch_size]
                nbests = self._search(batch, speech, weights, search_config)
                results |= zip(batch, nbests, strict=True)
                bar.update(len(batch))
        return results

    @torch.inference_mode()
    def _search(
        self,
        utterances: list[str],
        speech: SpeechSource | Waveforms,
        weights: dict[str, float],
        search_config: BeamSearchConfig,
    ) -> list[list[Hypothesis]]:
        """N-best lists of one batch."""
        frames, lengths = self.encode([speech.load(u) for u in utterances])
        first_pass = speech.transcripts(utterances)
        prefix, limits = self.prefix(frames, lengths, first_pass)
        ctc = self.ctc_log_probs(frames, lengths) if self.config.ctc_weight else None
        scorers = {k: WeightedScorer(self.scorers[k], w) for k, w in weights.items()}
        if ctc is not None:
            scorers["ctc"] = self._ctc(ctc, lengths)
        search = BeamSearch(
            self.llm.model, self.llm.bos, self.llm.eos, scorers, search_config
        )
        nbests = search(prefix, limits)
        sizes = lengths.tolist()
        if first_pass is not None and self.config.first_pass_weight:
            letters = [ctc if ctc is None else ctc[i, :n] for i, n in enumerate(sizes)]
            nbests = self._with_first_pass(
                nbests, first_pass, prefix, limits, letters, search
            )
        if self.config.first_pass_weight and self.moonshine:
            known = [speech.first_pass_scores[u] for u in utterances]
            audio = [f[:n] for f, n in zip(frames, sizes, strict=True)]
            rows = zip(nbests, audio, speech.written(utterances), known, strict=True)
            nbests = [self._rescore(*row) for row in rows]
        return [nbest[: self.config.beam] for nbest in nbests]

    def _with_first_pass(
        self,
        nbests: list[list[Hypothesis]],
        first_pass: list[str],
        prefix: Prefix,
        limits: list[int],
        ctc: list[Tensor | None],
        search: BeamSearch,
    ) -> list[list[Hypothesis]]:
        """The n-best lists, each with the first pass in its place, uncut.

        The search may have pruned what scores best in the end: it is a beam of a few,
        and the first pass is what the LLM reads. It is judged as the search would have.

        Args:
            nbests: B lists.
            first_pass: ``[B]``.
            prefix: of B utterances.
            limits: ``[B]``, the most tokens, eos included.
            ctc: ``[T, K]`` of each, or None.
            search: that found the lists.
        """
        llm, missing = self.llm, {}
        for i, (text, nbest) in enumerate(zip(first_pass, nbests, strict=True)):
            tokens = llm.encode(text)
            if text not in {normalize(self.text(h)) for h in nbest} and (
                len(tokens) < limits[i] and search.allows(tokens)
            ):
                missing[i] = tokens
        if not missing:
            return nbests
        rows, tokens = list(missing), list(missing.values())
        lengths = prefix.lengths[rows]
        theirs = Prefix(prefix.embeds[rows, : int(lengths.max())], lengths)
        by_name = {"llm": sum(score_by_llm(llm, theirs, [[row] for row in tokens]), [])}
        for name, weighted in search.scorers.items():
            if name == "ctc":
                scores = [
                    max(
                        score_by_ctc(ctc[i], [first_pass[i]], ALPHABET).item(),
                        MIN_LOG_PROB,
                    )
                    for i in rows
                ]
            else:
                scores = score_by_lm(
                    weighted.scorer, tokens, llm.bos, llm.eos, llm.device
                ).tolist()
            by_name[name] = [weighted.weight * score for score in scores]
        nbests = list(nbests)
        for n, i in enumerate(rows):
            parts = {name: values[n] for name, values in by_name.items()}
            added = search.hypothesis([*tokens[n], llm.eos], parts)
            nbests[i] = sorted([*nbests[i], added], key=lambda h: -h.score)
        return nbests

    @torch.inference_mode()
    def encode(self, speech: list[np.ndarray]) -> tuple[Tensor, Tensor]:
        """Encoder frames ``[B, T, F]`` of a batch and their lengths ``[B]``."""
        tensors = [torch.from_numpy(array).float() for array in speech]
        lengths = torch.tensor([len(tensor) for tensor in tensors])
        padded = pad_sequence(tensors, batch_first=True)
        with self.llm.autocast():
            frames, lengths, _ = self.model.encoder(
                padded.to(self.llm.device), lengths.to(self.llm.device)
            )
        return frames, lengths

    @torch.inference_mode()
    def prefix(
        self, frames: Tensor, lengths: Tensor, first_pass: list[str] | None = None
    ) -> tuple[Prefix, list[int]]:
        """What stands before the text, and the most tokens that may follow it."""
        config = self.config
        with self.llm.autocast():
            prefix, _ = self.model.projector(
                frames, lengths, self.llm, first_pass=first_pass
            )
        limits = [
            max(1, int(n * config.max_tokens_ratio) + config.max_tokens_offset)
            for n in prefix.lengths.tolist()
        ]
        if config.keep_prompt and isinstance(self.model.adapt, SoftPrompt):
            prefix = Prefix.concat(self.model.adapt.prefix(), prefix)
        if window := self.llm.window:  # where a hypothesis that babbles ends, too
            room = max(1, window - prefix.embeds.shape[1])
            limits = [min(limit, room) for limit in limits]
        return prefix, limits

    def prefixes(self, speech: SpeechSource, utterances: list[str]) -> list[Prefix]:
        """What stands before the text of each utterance."""
        frames, lengths = self.encode([speech.load(u) for u in utterances])
        audio, _ = self.prefix(frames, lengths, speech.transcripts(utterances))
        sizes = audio.lengths.tolist()
        return [
            Prefix(audio.embeds[i : i + 1, :n], audio.lengths[i : i + 1])
            for i, n in enumerate(sizes)
        ]

    def _rescore(
        self,
        nbest: list[Hypothesis],
        frames: Tensor,
        template: str,
        known: dict[str, float],
    ) -> list[Hypothesis]:
        """The n-best list with the score of the first pass's decoder added."""
        config = self.config
        texts = [self.text(h) for h in nbest]
        log_probs = self.moonshine.score(frames, texts, template, known)
        rescored = []
        for hypothesis, log_prob in zip(nbest, log_probs, strict=True):
            part = config.first_pass_weight * log_prob
            parts = {**hypothesis.parts, "first_pass": part}
            score = hypothesis.score + part
            rescored.append(replace(hypothesis, score=score, parts=parts))
        return sorted(rescored, key=lambda h: -h.score)

    @torch.inference_mode()
    def ctc_log_probs(self, frames: Tensor, lengths: Tensor) -> Tensor | None:
        """Log-probabilities ``[B, T, K]`` of the CTC head, if there is one."""
        if not isinstance(self.model.projector, CTCProjector):
            return None
        with self.llm.autocast():
            return self.model.projector.log_probs(frames, lengths)

    def _ctc(self, log_probs: Tensor, lengths: Tensor) -> WeightedScorer:
        if self._spelling is None:
            spelling = Spelling.of(self.llm.pieces, ALPHABET)
            self._spelling = spelling.to(self.llm.device)
        scorer = CTCPrefixScorer(log_probs, lengths, self._spelling, self.llm.eos)
        return WeightedScorer(scorer, self.config.ctc_weight)

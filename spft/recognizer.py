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
from spft.checkpoint import load_model, switch_model
from spft.data.speech import SpeechSource, Waveforms
from spft.encoder.encoders import CachedEncoder
from spft.encoder.moonshine import Moonshine
from spft.prefix import Prefix
from spft.pretrained import resolve
from spft.projector.ctc import ALPHABET, CTCProjector
from spft.search.beam import BeamSearch, BeamSearchConfig
from spft.search.ctc import CTCPrefixScorer, Spelling
from spft.search.hypothesis import Hypothesis
from spft.search.neural_lm import NeuralLM
from spft.search.ngram import NgramLM
from spft.search.phrases import Phrases
from spft.search.scorers import PartialScorer, Scorer, WeightedScorer
from spft.search.second_pass import SecondPass


class Recognizer:
    """Decode speech with a model and, fused, external LMs.

    Args:
        folder: experiment folder of the model.
        config: a :class:`spft.search.config.DecodeConfig`.
        external: ``lm`` and ``ngram`` to their folders, as far as there are any.
        keep: keep what :meth:`switch` needs.
    """

    def __init__(
        self, folder: str | Path, config, external: dict[str, Path], keep: bool = False
    ):
        self.config, self.keep = config, keep
        self.model = load_model(folder)
        if torch.cuda.is_available():
            self.model.cuda()
        self.llm = self.model.llm
        self.llm.merge(keep)
        self._spelling: Spelling | None = None
        self.scorers: dict[str, Scorer | PartialScorer] = {}
        self._load_external(external)

    def switch(self, folder: str | Path, config, external: dict[str, Path]) -> None:
        """Take adapters, search and LMs of another domain, beside the same LLM.

        Needs ``keep``. A soft prompt is not among them: it is for training.
        """
        self.config = config
        self.llm.unmerge()
        switch_model(self.model, folder)
        self.llm.merge(keep=True)
        self._load_external(external)

    def _load_external(self, external: dict[str, Path]) -> None:
        vocabulary = self.llm.model.get_output_embeddings().weight.shape[0]
        tokens = vocabulary, self.llm.bos, self.llm.eos
        self.scorers = {}
        if "lm" in external:
            lm = NeuralLM(external["lm"], *tokens, device=self.llm.device)
            self.scorers["lm"] = lm
        if "ngram" in external:
            self.scorers["ngram"] = NgramLM(external["ngram"], *tokens)

    def text(self, hypothesis: Hypothesis) -> str:
        """The words of a hypothesis."""
        return self.llm.decode(hypothesis.tokens)

    def best_texts(self, results: dict[str, list[Hypothesis]]) -> dict[str, str]:
        """The words of each best hypothesis; none where there is no hypothesis."""
        return {u: self.text(nbest[0]) if nbest else "" for u, nbest in results.items()}

    @functools.cached_property
    def asr(self) -> Moonshine | None:
        """The frozen encoder, and its own decoder, that made the model's frames."""
        if not isinstance(self.model.encoder, CachedEncoder):
            return None
        return Moonshine(resolve(self.model.encoder.extractor), self.llm.device.type)

    def recognise(
        self,
        waveforms: list[np.ndarray],
        weights: dict[str, float],
        phrases: Phrases | None = None,
        second: dict[str, float] | None = None,
    ) -> list[list[Hypothesis]]:
        """N-best lists of samples (``[N]``, 16 kHz, ±1), in their order.

        Args:
            waveforms: one utterance each.
            weights: of the external LMs in the search.
            phrases: of the domain, for a second pass; None: there is none.
            second: weights of that pass.
        """
        names = [str(i) for i in range(len(waveforms))]
        speech = Waveforms(dict(zip(names, waveforms, strict=True)), self.asr)
        results = self.decode(speech, weights)
        if phrases is not None:
            found = SecondPass(self, phrases).candidates(speech, results)
            bonus = self.config.lm_length_bonus
            results = {u: c.ranked(second or {}, bonus) for u, c in found.items()}
        return [results[name] for name in names]

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
        external = {k: WeightedScorer(self.scorers[k], w) for k, w in weights.items()}
        search_config = BeamSearchConfig(
            beam=config.beam,
            length_penalty=config.length_penalty,
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
                frames, lengths = self.encode([speech.load(u) for u in batch])
                first_pass = speech.transcripts(batch)
                prefix, limits = self.prefix(frames, lengths, first_pass)
                search = BeamSearch(
                    self.llm.model,
                    self.llm.bos,
                    self.llm.eos,
                    self._ctc(frames, lengths) | external,
                    search_config,
                )
                found = search(prefix, limits)
                if config.first_pass_weight and self.asr:
                    found = [
                        self._rescore(
                            nbest, f[:n], template, speech.first_pass_scores[u]
                        )
                        for u, f, n, template, nbest in zip(
                            batch,
                            frames,
                            lengths.tolist(),
                            speech.written(batch),
                            found,
                            strict=True,
                        )
                    ]
                results |= zip(batch, found, strict=True)
                bar.update(len(batch))
        return results

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
            int(n * config.max_tokens_ratio) + config.max_tokens_offset
            for n in prefix.lengths.tolist()
        ]
        if config.keep_prompt and isinstance(self.model.adapt, SoftPrompt):
            prefix = Prefix.concat(self.model.adapt.prefix(), prefix)
        return prefix, limits

    def prefixes(self, speech: SpeechSource, names: list[str]) -> list[Prefix]:
        """What stands before the text of each of the utterances ``names``."""
        frames, lengths = self.encode([speech.load(u) for u in names])
        audio, _ = self.prefix(frames, lengths, speech.transcripts(names))
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
        log_probs = self.asr.score(frames, texts, template, known)
        rescored = []
        for hypothesis, log_prob in zip(nbest, log_probs, strict=True):
            norm = hypothesis.length**config.length_penalty
            part = config.first_pass_weight * log_prob / norm
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

    @torch.inference_mode()
    def _ctc(self, frames: Tensor, lengths: Tensor) -> dict[str, WeightedScorer]:
        if not self.config.ctc_weight:
            return {}
        log_probs = self.ctc_log_probs(frames, lengths)
        if log_probs is None:
            return {}
        if self._spelling is None:
            spelling = Spelling.of(self.llm.pieces(), ALPHABET)
            self._spelling = spelling.to(self.llm.device)
        scorer = CTCPrefixScorer(log_probs, lengths, self._spelling, self.llm.eos)
        return {"ctc": WeightedScorer(scorer, self.config.ctc_weight)}

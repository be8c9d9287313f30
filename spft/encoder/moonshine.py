"""Moonshine base (frozen): encoder frames, and its own decoder's transcript."""

from collections.abc import Sequence
from itertools import batched
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, EncoderDecoderCache, LogitsProcessorList

from spft.data.written_form import written_form
from spft.pretrained import loading

BEAM = 4  # of 1 makes a tenth more errors, of 8 as many as this
UTTERANCES = 8  # searched at once; each beam attends to a copy of its frames


class _BeamCache(EncoderDecoderCache):
    """Keys and values of a beam search; a beam never leaves its utterance's frames."""

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        self.self_attention_cache.reorder_cache(beam_idx)


class _SilenceAtFirst:
    """Nothing was said only where that is likelier than any first token.

    Among whole texts the empty one wins by its length alone now and then: with a
    probability of .1 against .01 for all that was said.
    """

    def __init__(self, eos: int):
        self.eos = eos

    def __call__(self, tokens: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if tokens.shape[1] > 1:
            return scores
        silent = scores.argmax(-1) == self.eos
        scores[:, self.eos] = scores[:, self.eos].where(silent, -torch.inf)
        return scores


class Moonshine:
    """Hear 16 kHz waveforms.

    Args:
        path: folder of a transformers model of this type.
        device: where it runs; None takes a GPU if there is one.
    """

    frames_per_second = 41.5
    max_tokens_per_second = 6.5  # its authors' bound against endless repetition

    def __init__(self, path: str | Path, device: str | None = None):
        from transformers import AutoTokenizer, MoonshineForConditionalGeneration

        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        with loading(f"encoder {str(path)!r}", "encoder_conf"):
            model = MoonshineForConditionalGeneration.from_pretrained(path)
            self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.model = model.to(self.device).eval()

    @torch.inference_mode()
    def encode(self, waveform: np.ndarray) -> np.ndarray:
        """Encode ``waveform`` (``[N]``, float32 in ±1) into ``[T, 416]`` frames.

        One at a time: its first layers normalise over the whole of a batch's length, so
        that padding would change the frames.
        """
        samples = torch.from_numpy(np.asarray(waveform, dtype=np.float32))[None]
        output = self.model.model.encoder(samples.to(self.device))
        return output.last_hidden_state[0].cpu().numpy()

    def transcribe(self, frames: Sequence[np.ndarray]) -> list[str]:
        """Transcripts of :meth:`encode`'s frames, as its decoder writes them.

        With case, punctuation and figures: normalise before use. By beam search for the
        likeliest, whatever its length, but not for nothing where something was said.
        """
        order = sorted(range(len(frames)), key=lambda i: len(frames[i]))
        texts: dict[int, str] = {}
        for batch in batched(order, UTTERANCES):  # of similar length
            found = self._transcribe([frames[i] for i in batch])
            texts |= zip(batch, found, strict=True)
        return [texts[i] for i in range(len(frames))]

    @torch.inference_mode()
    def _transcribe(self, frames: Sequence[np.ndarray]) -> list[str]:
        rows = [torch.from_numpy(np.array(row)) for row in frames]
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        output = self._encoded(pad_sequence(rows, batch_first=True), lengths)
        seconds = int(lengths.max()) / self.frames_per_second
        tokens = self.model.generate(
            encoder_outputs=output,
            past_key_values=_BeamCache(DynamicCache(), DynamicCache()),
            # Not ours: transformers looks for an input's length, and warns without it.
            attention_mask=torch.ones(len(rows), 1, device=self.device),
            max_new_tokens=int(seconds * self.max_tokens_per_second) + 2,
            num_beams=BEAM,
            logits_processor=LogitsProcessorList(
                [_SilenceAtFirst(self.tokenizer.eos_token_id)]
            ),
            length_penalty=0.0,
        )
        # The bound is per utterance: a short one in a batch may not go on for longer.
        limits = (lengths / self.frames_per_second * self.max_tokens_per_second).int()
        return [
            " ".join(
                self.tokenizer.decode(
                    row[: limit + 2], skip_special_tokens=True
                ).split()
            )
            for row, limit in zip(tokens, limits.tolist(), strict=True)
        ]

    @torch.inference_mode()
    def score(
        self,
        frames: torch.Tensor,
        texts: Sequence[str],
        template: str = "",
        known: dict[str, float] | None = None,
    ) -> list[float]:
        """Log-probability of each text, given one utterance's frames ``[T, 416]``.

        The decoder was trained on written text, and judges that better than plain
        words.

        Args:
            frames: of the utterance.
            texts: any number.
            template: its transcript; the texts are judged as if written like that.
            known: scores of its texts from before; these are not asked again, and what
                is new is added.
        """
        known = {} if known is None else known
        if new := [text for text in dict.fromkeys(texts) if text not in known]:
            written = [written_form(text, template) for text in new]
            known |= zip(new, self._score(frames, written), strict=True)
        return [known[text] for text in texts]

    def _score(self, frames: torch.Tensor, texts: list[str]) -> list[float]:
        bos, eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        coded = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        rows = [torch.tensor([bos, *row, eos], device=self.device) for row in coded]
        padded = pad_sequence(rows, batch_first=True, padding_value=eos)
        lengths = torch.full((len(rows),), len(frames), device=self.device)
        logits = self.model(
            encoder_outputs=self._encoded(frames.expand(len(rows), -1, -1), lengths),
            decoder_input_ids=padded[:, :-1],
            past_key_values=self._attended(frames, len(rows)),
        ).logits
        chosen = logits.gather(-1, padded[:, 1:, None])[..., 0] - logits.logsumexp(-1)
        return [
            float(row[: len(tokens) - 1].sum())
            for row, tokens in zip(chosen, rows, strict=True)
        ]

    def _attended(self, frames: torch.Tensor, rows: int):
        """What ``rows`` texts attend to in one utterance's frames, computed once."""
        audio = DynamicCache()
        for i, layer in enumerate(self.model.model.decoder.layers):
            attention = layer.encoder_attn
            keys, values = (
                projection(frames.to(self.device))
                .view(len(frames), -1, attention.head_dim)
                .transpose(0, 1)
                .expand(rows, -1, -1, -1)
                for projection in (attention.k_proj, attention.v_proj)
            )
            audio.update(keys, values, i)
        return EncoderDecoderCache(DynamicCache(), audio)

    def _encoded(self, frames: torch.Tensor, lengths: torch.Tensor):
        """``[B, T, 416]`` and ``[B]`` in the shape that transformers takes."""
        from transformers.models.moonshine.modeling_moonshine import (
            MoonshineEncoderModelOutput,
        )

        steps = torch.arange(frames.shape[1], device=self.device)
        return MoonshineEncoderModelOutput(
            last_hidden_state=frames.to(self.device),
            attention_mask=(steps < lengths[:, None]).int(),
        )

"""Encoders of the model: cached frames, a transformers encoder, ESPnet's Conformer."""

import logging

import torch
from espnet2.asr.encoder.abs_encoder import AbsEncoder
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from spft.data.audio import SAMPLE_RATE
from spft.errors import UserError
from spft.pretrained import loading

_log = logging.getLogger(__name__)


class CachedEncoder(AbsEncoder):
    """Pass frames on that a frozen encoder computed once, in stage 2.

    Args:
        extractor: which encoder computed them; stage 2 and decoding read it.
        input_size: width of the frames.
    """

    def __init__(self, extractor: str, input_size: int = 416):
        super().__init__()
        self.size = input_size
        self.extractor = extractor

    def output_size(self) -> int:
        """Width of the frames."""
        return self.size

    def forward(self, xs_pad: Tensor, ilens: Tensor, prev_states=None):
        """Return ``[B, T, F]`` frames and ``[B]`` lengths as they are."""
        if xs_pad.dim() != 3:
            raise UserError(
                "this model reads cached frames, and was given audio; make features of "
                "the set first: run.sh --stage 2, or spft.bin.extract_features"
            )
        return xs_pad, ilens, None


class TransformersEncoder(AbsEncoder):
    """A speech encoder of transformers on 16 kHz waveforms, trainable by pattern.

    Wav2Vec2-like encoders (WavLM, HuBERT) take the waveform, Whisper-like ones a mel
    spectrogram; the model's own feature extractor makes what it takes.

    Args:
        name: hub name or folder.
    """

    pretrained = True  # a checkpoint need not hold it

    def __init__(self, name: str):
        super().__init__()
        from transformers import AutoFeatureExtractor, AutoModel

        with loading(f"encoder {name!r}", "encoder_conf"):
            self.features = AutoFeatureExtractor.from_pretrained(name)
            # Where the LLM computes in bfloat16, autocast brings this there too.
            model = AutoModel.from_pretrained(name, dtype=torch.float32)
        self.model = model.get_encoder() if model.config.is_encoder_decoder else model
        self.window = _window(self.features)
        # Group normalisation sees the padding: such an utterance is encoded alone.
        norm = getattr(self.model.config, "feat_extract_norm", None)
        self.one_at_a_time = norm == "group"

    def output_size(self) -> int:
        """Width of the encoder's states."""
        return self.model.config.hidden_size

    def forward(self, xs_pad: Tensor, ilens: Tensor, prev_states=None):
        """Encode ``[B, N]`` samples into ``[B, T, F]`` frames and their number.

        Of what is longer than the encoder's window the rest is not heard; a warning
        says so.
        """
        _check_samples(xs_pad)
        if self.window and int(ilens.max()) > self.window:
            seconds = self.window / SAMPLE_RATE
            _log.warning("speech of over %g s: this encoder hears no more", seconds)
            ilens = ilens.clamp(max=self.window)
        waves = [x[:n].cpu().numpy() for x, n in zip(xs_pad, ilens, strict=True)]
        if self.one_at_a_time:
            rows = [self._encode([wave], xs_pad.device)[0] for wave in waves]
            lengths = torch.tensor([len(row) for row in rows], device=xs_pad.device)
            return pad_sequence(rows, batch_first=True), lengths, None
        frames = self._encode(waves, xs_pad.device)
        return frames, self._lengths(ilens, frames.shape[1]), None

    def _lengths(self, samples: Tensor, frames: int) -> Tensor:
        """How many of ``frames`` are each utterance's, of so many ``samples [B]``."""
        count = getattr(self.model, "_get_feat_extract_output_lengths", None)
        if count and not self.window:
            lengths = count(samples)
            if int(lengths.max()) == frames:  # it counts these, not a mel front end's
                return lengths
        lengths = (samples * frames / (self.window or int(samples.max()))).ceil()
        return lengths.long().clamp(max=frames)

    def _encode(self, waves: list, device: torch.device) -> Tensor:
        # Whisper's go through torch to NumPy, which knows no bfloat16.
        with torch.autocast("cpu", enabled=False):  # where they are computed
            inputs = self.features(
                waves,
                sampling_rate=SAMPLE_RATE,
                return_tensors="pt",
                padding="max_length" if self.window else "longest",
            ).to(device)
        return self.model(**inputs).last_hidden_state


def longest_speech(encoder: str, keys: dict) -> int | None:
    """How many samples an encoder hears; None: any number.

    Args:
        encoder: as in a model's YAML.
        keys: its ``encoder_conf``.

    Raises:
        UserError: the encoder is not there.
    """
    if encoder != "transformers":
        return None
    from transformers import AutoFeatureExtractor

    if not keys.get("name"):
        raise UserError("encoder_conf: no name; a hub's or a folder's is needed")
    with loading(f"encoder {keys['name']!r}", "encoder_conf"):
        return _window(AutoFeatureExtractor.from_pretrained(keys["name"]))


def _window(features) -> int | None:
    # Whisper encodes windows of one length, in samples; the others any length.
    return getattr(features, "n_samples", None)


class FbankConformerEncoder(AbsEncoder):
    """ESPnet's log-mel front end and Conformer, from scratch (preset ``tiny``).

    Args:
        n_mels: mel filters.
        **conformer: keys of ESPnet's ``ConformerEncoder`` (output_size, num_blocks, …).
    """

    def __init__(self, n_mels: int = 80, **conformer):
        super().__init__()
        from espnet2.asr.encoder.conformer_encoder import ConformerEncoder
        from espnet2.asr.frontend.default import DefaultFrontend

        self.frontend = DefaultFrontend(fs=SAMPLE_RATE, n_mels=n_mels, n_fft=512)
        self.conformer = ConformerEncoder(n_mels, **conformer)

    def output_size(self) -> int:
        """Width of the Conformer."""
        return self.conformer.output_size()

    def forward(self, xs_pad: Tensor, ilens: Tensor, prev_states=None):
        """Encode ``[B, N]`` samples into ``[B, T, F]`` frames and their number."""
        _check_samples(xs_pad)
        with torch.autocast(xs_pad.device.type, enabled=False):
            mel, lengths = self.frontend(xs_pad.float(), ilens)
        return self.conformer(mel, lengths)


def _check_samples(speech: Tensor) -> None:
    if speech.dim() != 2:
        raise UserError(
            "this model reads audio, and was given frames that another encoder cached; "
            "remove these sets from the dump folder, or give another --dump"
        )

"""The speech LLM: encoder → projector → prefix, or a text prefix in its place → LLM."""

import re

import torch
from espnet2.asr.encoder.abs_encoder import AbsEncoder
from espnet2.torch_utils.device_funcs import force_gatherable
from espnet2.train.abs_espnet_model import AbsESPnetModel
from torch import Tensor

from spft.adapt.abs_adapt import AbsAdapt
from spft.errors import UserError
from spft.llm import LLM
from spft.projector.abs_projector import AbsProjector


class SpeechLLM(AbsESPnetModel):
    """Speech recognition by a decoder-only LLM after a prefix.

    A batch with ``speech`` trains on paired data; one without is text-only and stands
    under the prefix of the adaptation method.

    Args:
        encoder: speech to frames.
        projector: frames to audio embeddings.
        llm: the decoder.
        adapt: what stands before text-only batches.
        trainable: regular expressions, searched in parameter names; all other
            parameters are frozen. Each must match something.
        llm_weight: weight of the next-token loss under the audio embeddings; at 0 the
            LLM is not run at all, which trains the projector by its own loss.
        ctc_weight: weight of a CTC projector's loss.
    """

    def __init__(
        self,
        encoder: AbsEncoder,
        projector: AbsProjector,
        llm: LLM,
        adapt: AbsAdapt,
        trainable: list[str],
        llm_weight: float = 1.0,
        ctc_weight: float = 0.3,
    ):
        super().__init__()
        self.encoder = encoder
        self.projector = projector
        self.llm = llm
        self.adapt = adapt
        self.llm_weight = llm_weight
        self.ctc_weight = ctc_weight
        self.saved: set[str] = set()  # what a checkpoint of this model must hold
        self._set_trainable(trainable)

    def _set_trainable(self, patterns: list[str]) -> None:
        self.requires_grad_(False)
        for pattern in patterns:
            found = [
                (name, parameter)
                for name, parameter in self.named_parameters()
                if re.search(pattern, name)
            ]
            if not found:
                raise UserError(f"trainable: {pattern!r} matches no parameter")
            for _, parameter in found:
                parameter.requires_grad_(True)
        trained = [p for p in self.llm.parameters() if p.requires_grad]
        if any(p.dtype != torch.float32 for p in trained):
            # Full tuning: its steps are too small for bfloat16, which would drop them.
            self.llm.model.float()
        # Buffers (normalisation statistics) move with the parameters beside them.
        buffers = super().state_dict().keys() - dict(self.named_parameters()).keys()
        self.saved |= {
            name
            for name in super().state_dict()
            if any(re.search(pattern, name) for pattern in patterns)
            or name in buffers
            and any(name.startswith(part) for part in self._parts_in_training())
        }

    def _parts_in_training(self) -> list[str]:
        """Encoder and projector, as far as any of their parameters is trained."""
        return [
            f"{name}."
            for name in ("encoder", "projector")
            if any(p.requires_grad for p in getattr(self, name).parameters())
        ]

    @property
    def trained_parameters(self) -> int:
        """How many numbers this run trains."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def train(self, mode: bool = True) -> "SpeechLLM":
        """Set the mode; parts that are frozen whole stay as at inference.

        Otherwise dropout and running statistics would change a part that the stage
        must leave alone.
        """
        super().train(mode)
        # Not the LLM itself, which tells by its mode whether it may be recorded.
        for part in (self.encoder, self.projector, self.llm.model.base_model):
            if not any(p.requires_grad for p in part.parameters()):
                part.eval()
        return self

    def to(self, *args, dtype: torch.dtype | None = None, **kwargs) -> "SpeechLLM":
        """Move; ``dtype`` is ignored, for each part keeps that of its configuration.

        ESPnet casts the whole model to ``train_dtype``, which would double the memory
        of frozen bf16 weights.
        """
        return super().to(*args, **kwargs)

    def state_dict(self, *args, **kwargs) -> dict[str, Tensor]:
        """Only what is trained here or came from an earlier stage's checkpoint."""
        full = super().state_dict(*args, **kwargs)
        return {name: full[name] for name in full if name in self.saved}

    def load_state_dict(self, state_dict, strict: bool = True, assign: bool = False):
        """Load a checkpoint; what it lacks or has too much is an error."""
        result = super().load_state_dict(state_dict, strict=False, assign=assign)
        missing = sorted(self.saved - set(state_dict))
        if strict and (missing or result.unexpected_keys):
            raise UserError(
                "checkpoint from another configuration: "
                f"missing {missing[:3] or 'nothing'}, "
                f"unknown {result.unexpected_keys[:3] or 'nothing'}"
            )
        return result

    def load_stage(self, state: dict[str, Tensor]) -> None:
        """Start from an earlier stage: its tensors become part of this checkpoint."""
        own = super().state_dict()
        unknown = sorted(set(state) - set(own))
        if unknown:
            raise UserError(
                f"checkpoint from another configuration: unknown {unknown[:3]}"
            )
        for name, tensor in state.items():
            if tensor.shape != own[name].shape:
                raise UserError(
                    f"checkpoint from another configuration: {name} has shape "
                    f"{[*tensor.shape]}, here {[*own[name].shape]}"
                )
        if any(n.startswith("llm.") and "lora_" not in n for n in state):
            self.llm.model.float()  # tuned whole, in float32: to be saved as it was
        super().load_state_dict(state, strict=False)
        self.saved |= set(state)

    def forward(
        self,
        text: Tensor,
        text_lengths: Tensor,
        speech: Tensor | None = None,
        speech_lengths: Tensor | None = None,
        first_pass: Tensor | None = None,
        first_pass_lengths: Tensor | None = None,
        **kwargs,
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Return the loss of a batch, its statistics and its number of labels.

        Args:
            text: ``[B, L]`` token ids, padded with -1.
            text_lengths: ``[B]``.
            speech: ``[B, T, F]`` frames or ``[B, N]`` samples; None for text only.
            speech_lengths: ``[B]``.
            first_pass: ``[B, K]`` token ids of the encoder's own transcripts, or None.
            first_pass_lengths: ``[B]``.
            **kwargs: what ESPnet's collation adds (utterance ids).
        """
        stats: dict[str, Tensor] = {}
        with self.llm.autocast():
            if speech is None:
                prefix = self.adapt(text, text_lengths, self.llm)
                loss = self.llm(prefix, text, text_lengths).mean()
            else:
                hypotheses = None
                if first_pass is not None:
                    hypotheses = self.llm.decode_batch(first_pass, first_pass_lengths)
                loss = self._paired_loss(
                    text, text_lengths, speech, speech_lengths, hypotheses, stats
                )
        stats["loss"] = loss.detach()
        # What the loss is a mean over: so ESPnet's averages over batches, and over the
        # processes that share one, are means over labels as well.
        size = (text_lengths + 1).sum().to(loss)
        return force_gatherable((loss, stats, size), loss.device)

    def _paired_loss(
        self,
        text: Tensor,
        text_lengths: Tensor,
        speech: Tensor,
        speech_lengths: Tensor,
        first_pass: list[str] | None,
        stats: dict[str, Tensor],
    ) -> Tensor:
        """The weighted sum of losses; each, and other figures, go into ``stats``."""
        texts = self.llm.decode_batch(text, text_lengths)
        frames, lengths, _ = self.encoder(speech, speech_lengths)
        prefix, figures = self.projector(frames, lengths, self.llm, texts, first_pass)
        weights = {"ctc": self.ctc_weight}
        if self.llm_weight:
            figures["llm"] = self.llm(prefix, text, text_lengths).mean()
            weights["llm"] = self.llm_weight
        for name, value in figures.items():
            stats[f"loss_{name}" if name in weights else name] = value.detach()
        losses = [w * figures[name] for name, w in weights.items() if name in figures]
        if not losses:
            raise UserError(
                "model_conf: with llm_weight 0 and a projector that has no CTC head no "
                "loss is left; give llm_weight a value"
            )
        return sum(losses)

    def collect_feats(self, **batch) -> dict[str, Tensor]:
        """Nothing: batches are planned from lengths that spft.bin.train writes."""
        return {}

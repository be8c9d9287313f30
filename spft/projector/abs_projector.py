"""A projector: encoder frames in, audio embeddings of the LLM out."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from spft.llm import LLM
from spft.prefix import Prefix


class AbsProjector(nn.Module, ABC):
    """Turn encoder frames into the prefix that the LLM decodes after.

    Subclasses take ``(input_size, llm, **projector_conf)``. They must not keep ``llm``
    as a submodule.
    """

    @abstractmethod
    def forward(
        self,
        frames: Tensor,
        lengths: Tensor,
        llm: LLM,
        texts: list[str] | None = None,
        first_pass: list[str] | None = None,
    ) -> tuple[Prefix, dict[str, Tensor]]:
        """Project a batch.

        Args:
            frames: ``[B, T, F]`` encoder frames.
            lengths: ``[B]`` valid frames.
            llm: gives tokenizer and embeddings.
            texts: transcripts, given in training.
            first_pass: transcripts by the encoder's own decoder, where it has one.

        Returns:
            The audio embeddings; and, given texts, scalars by name: auxiliary losses
            that ``model_conf`` weighs, and other figures for the log.
        """

"""The LLM's layers in training as CUDA graphs: one launch for all of a pass's kernels.

A pass of a small LLM through its layers and back is some thousand kernels of a few
microseconds, and their launch takes Python and torch many times as long. A CUDA graph
records them once, for one shape of input, and launches them together from then on.
"""

import logging

import torch
from torch import Tensor, distributed, nn
from transformers import PreTrainedModel

from spft.errors import UserError

MAX_GRAPHS = 32  # sizes recorded; those that come after run as they are


class _Layers(nn.Module):
    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self.model = model.base_model

    def forward(self, embeds: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        return self.model(
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=positions,
            use_cache=False,
        ).last_hidden_state


class GraphedLayers:
    """All layers of an LLM, forward and backward.

    In training a shape's first call records it. Such a call's backward pass comes
    before the next call, for both write to the same memory. While a shape is recorded,
    no result of an unrecorded pass through what is trained may be alive.

    A recording keeps a copy of all gradients. So no more are made once less than half
    of the GPU's memory is free.

    Args:
        model: the LLM.
        record: false runs everything as it is.
    """

    def __init__(self, model: PreTrainedModel, record: bool):
        # Processes that share a batch hook into the backward pass, which is replaced.
        alone = not distributed.is_initialized() or distributed.get_world_size() == 1
        self.record = record and alone and model.device.type == "cuda"
        self.model = model
        self._plain = _Layers(model)
        self._graphs: dict[tuple, nn.Module] = {}
        self._memory: tuple[int, int] | None = None  # of all graphs: one runs at a time
        self._room = True  # for more

    def __call__(self, embeds: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        """Hidden states ``[R, N, D]``.

        Args:
            embeds: ``[R, N, D]``.
            mask: ``[R, 1, N, N]`` bool.
            positions: ``[R, N]``.

        Raises:
            UserError: they cannot be recorded, e.g. because the LLM waits for a value
                from the GPU.
        """
        if not (self.record and self.model.training and torch.is_grad_enabled()):
            return self._plain(embeds, mask, positions)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        for parameter in trained:
            # Gradients that are summed over batches may lie where the next are written.
            if parameter.grad is not None:
                parameter.grad = parameter.grad.clone()
        key = embeds.shape, embeds.dtype, embeds.requires_grad, len(trained)
        if key not in self._graphs:
            self._check_room()
            if not self._room:
                return self._plain(embeds, mask, positions)
            try:
                self._graphs[key] = self._recorded(embeds, mask, positions)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                # No way back to plain calls: it has broken CUDA's random numbers, too.
                reason = str(error.__context__ or error).splitlines()[0]
                raise UserError(
                    f"{type(self.model).__name__} cannot be recorded as CUDA graphs "
                    f"({reason}); train it without, llm_conf: {{cuda_graphs: false}}"
                ) from error
        return self._graphs[key](embeds, mask, positions)

    def _recorded(self, embeds: Tensor, *rest: Tensor) -> nn.Module:
        if self._memory is None:
            self._memory = torch.cuda.graph_pool_handle()
            # Gradients are summed on the stream of the first recording, always.
            torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
        sample = embeds.detach().clone().requires_grad_(embeds.requires_grad)
        # Autocast's cache would hold tensors of a recording beyond it.
        dtype = torch.get_autocast_dtype("cuda")
        enabled = torch.is_autocast_enabled("cuda")
        with torch.autocast("cuda", dtype, enabled, cache_enabled=False):
            return torch.cuda.make_graphed_callables(
                _Layers(self.model),
                (sample, *(tensor.clone() for tensor in rest)),
                allow_unused_input=True,
                pool=self._memory,
            )

    def _check_room(self) -> None:
        free, total = torch.cuda.mem_get_info()
        if self._room and (len(self._graphs) == MAX_GRAPHS or free < total / 2):
            self._room = False
            logging.warning(
                f"{len(self._graphs)} sizes of batches are recorded as CUDA graphs and "
                f"{free / total:.0%} of the GPU's memory is free: others are trained "
                "without, which is slower"
            )

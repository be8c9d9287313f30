"""Cross-entropy at labels through a frozen output layer, some labels at a time.

The logits of a batch are its largest tensor by far: 49,152 numbers a label. Here they
never exist at once, nor do their gradients: a label's gradient with respect to its
hidden state is known as soon as its logits are, and is all that is kept.

(torch 2.13's own ``linear_cross_entropy`` in pieces took ten times as long and more for
320 labels on a CPU; whole, it gives losses in bfloat16.)
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

# Labels at a time: enough for a matrix product to run at full rate.
ROWS, ROWS_OF_GPU = 128, 1024


class _FrozenLayerLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden: Tensor, layer: nn.Module, labels: Tensor) -> Tensor:
        losses, gradients = [], []
        size = ROWS if hidden.device.type == "cpu" else ROWS_OF_GPU
        for rows, targets in zip(hidden.split(size), labels.split(size), strict=True):
            logits = layer(rows)
            log_probs, targets = logits.float().log_softmax(1), targets[:, None]
            losses.append(-log_probs.gather(1, targets))
            if ctx.needs_input_grad[0]:
                gradient = log_probs.exp_().scatter_add_(
                    1, targets, log_probs.new_full(targets.shape, -1)
                )
                weight = layer.weight.to(logits.dtype)
                gradients.append(gradient.to(logits.dtype) @ weight)
        if gradients:
            ctx.save_for_backward(torch.cat(gradients))
        return torch.cat(losses)[:, 0]

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple[Tensor, None, None]:
        (gradients,) = ctx.saved_tensors
        return (upstream[:, None] * gradients).to(gradients.dtype), None, None


def label_loss(hidden: Tensor, layer: nn.Module, labels: Tensor) -> Tensor:
    """Negative log-likelihood of each label, in nats.

    Args:
        hidden: ``[N, D]``.
        layer: the output layer, ``[N, D]`` to logits ``[N, V]``.
        labels: ``[N]``.

    Returns:
        ``[N]`` float32.
    """
    plain = isinstance(layer, nn.Linear) and layer.bias is None
    if plain and not layer.weight.requires_grad:
        return _FrozenLayerLoss.apply(hidden, layer, labels)
    return F.cross_entropy(layer(hidden).float(), labels, reduction="none")

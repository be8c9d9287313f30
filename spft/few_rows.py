"""Products of a few rows with large weights on a CPU, as in each step of a search.

``x @ W.T`` of a few rows takes MKL up to twice as long as ``(W @ x.T).T``, which is
bound by reading W alone. How many rows that is was measured: two to five on an EPYC
with AVX2; six to 48 on a Xeon with AVX-512, where fewer are at that bound as they are.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROWS = {"AVX512": range(6, 49)}.get(
    torch.backends.cpu.get_cpu_capability(), range(2, 6)
)


class FewRowsLinear(nn.Linear):
    """A linear layer without bias that turns the product of a few rows round."""

    def forward(self, x: Tensor) -> Tensor:
        """``[..., I]`` → ``[..., O]``."""
        rows = x.numel() // x.shape[-1]
        if rows not in ROWS or torch.is_grad_enabled() or x.dtype != torch.float32:
            return F.linear(x, self.weight)
        # Contiguous, for MKL is slow on the transpose of what is transposed already.
        x, shape = x.reshape(rows, -1).contiguous(), x.shape[:-1]
        return (self.weight @ x.T).T.contiguous().view(*shape, -1)


def enable(model: nn.Module) -> None:
    """Let the linear layers of ``model`` do so, if it is on a CPU."""
    for module in model.modules():
        plain = type(module) is nn.Linear and module.bias is None
        if plain and module.weight.device.type == "cpu":
            module.__class__ = FewRowsLinear

import torch
from torch.nn import functional as F

from spft.label_loss import ROWS, label_loss


def test_equals_cross_entropy_with_gradients():
    torch.manual_seed(0)
    layer = torch.nn.Linear(8, 30, bias=False).double().requires_grad_(False)
    hidden = torch.randn(2 * ROWS + 3, 8, dtype=torch.double, requires_grad=True)
    labels = torch.randint(0, 30, (len(hidden),))
    weights = torch.rand(len(hidden))  # losses need not weigh the same
    expected = F.cross_entropy(layer(hidden).float(), labels, reduction="none")
    (gradient,) = torch.autograd.grad((expected * weights).sum(), hidden)
    got = label_loss(hidden, layer, labels)
    torch.testing.assert_close(got, expected)
    (ours,) = torch.autograd.grad((got * weights).sum(), hidden)
    torch.testing.assert_close(ours, gradient, rtol=1e-4, atol=1e-6)


def test_output_layer_that_is_trained():
    layer = torch.nn.Linear(8, 30, bias=False)
    hidden, labels = torch.randn(5, 8), torch.arange(5)
    label_loss(hidden, layer, labels).sum().backward()
    assert layer.weight.grad.abs().max() > 0

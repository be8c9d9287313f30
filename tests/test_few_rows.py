import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from spft import few_rows
from spft.llm import LLM
from spft.search.beam import BeamSearch


@pytest.fixture
def layers():
    torch.manual_seed(0)
    plain = nn.Linear(24, 40, bias=False)
    turned = nn.Linear(24, 40, bias=False)
    turned.load_state_dict(plain.state_dict())
    few_rows.enable(nn.Sequential(turned, nn.Linear(40, 2)))
    return plain, turned


@pytest.mark.parametrize("shape", [(1,), (2, 1), (4, 1), (5,), (6, 1), (2, 2, 7)])
def test_the_same_product(layers, shape, monkeypatch):
    monkeypatch.setattr(few_rows, "ROWS", range(2, 6))
    plain, turned = layers
    asked, linear = [], F.linear
    monkeypatch.setattr(few_rows.F, "linear", lambda *a: asked.append(a) or linear(*a))
    x = torch.randn(*shape, 24)
    with torch.inference_mode():
        expected = plain(x)
        for inputs in (x, x.transpose(0, -1).contiguous().transpose(0, -1)):
            output = turned(inputs)
            torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-6)
            assert output.is_contiguous()
    # The plain layer asks torch's own once, and the other where it turns nothing.
    assert len(asked) == (1 if math.prod(shape) in range(2, 6) else 3)


def test_gradients_go_through_torch_s_own(layers):
    plain, turned = layers
    x = torch.randn(3, 24)
    for layer in layers:
        layer(x).square().sum().backward()
    assert torch.equal(plain.weight.grad, turned.weight.grad)


def test_the_search_turns_them(tiny_llm):
    llm = LLM(str(tiny_llm), dtype="float32").model
    BeamSearch(llm, 1, 2)
    assert type(llm.get_output_embeddings()) is few_rows.FewRowsLinear


def test_layers_with_a_bias_stay(layers):
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 3, bias=False))
    few_rows.enable(model)
    assert [type(layer) for layer in model] == [nn.Linear, few_rows.FewRowsLinear]

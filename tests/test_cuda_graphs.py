"""Recorded layers: on a GPU the real thing, elsewhere when and how often it is done."""

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from spft import cuda_graphs
from spft.cuda_graphs import GraphedLayers
from spft.errors import UserError
from spft.llm import IGNORED, LLM
from spft.prefix import Prefix

LORA = {"r": 2, "target_modules": ["q_proj", "v_proj"]}
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture
def batches(tiny_llm, texts):
    """Token ids and lengths of batches of different sizes, some of them again."""
    llm = LLM(str(tiny_llm), dtype="float32")
    rows = [torch.tensor(llm.encode(text)) for text in texts]
    found = []
    for count in (8, 2, 400, 8, 400, 2):
        part = (rows * 50)[:count]
        lengths = torch.tensor([len(row) for row in part])
        padded = pad_sequence(part, batch_first=True, padding_value=IGNORED)
        found.append((padded, lengths))
    return found


def model(tiny_llm, graphs, lora=LORA, dtype="float32"):
    torch.manual_seed(0)
    llm = LLM(str(tiny_llm), dtype=dtype, lora=lora, cuda_graphs=graphs)
    for name, parameter in llm.named_parameters():
        parameter.requires_grad_(lora is None or "lora_" in name)
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    return llm.cuda().train()


@on_gpu
@pytest.mark.parametrize("lora", [LORA, None])
@pytest.mark.parametrize("own", [False, True])
def test_recorded_training_equals_plain(tiny_llm, batches, own, lora):
    losses, weights = [], []
    for graphs in (True, False):
        llm = model(tiny_llm, graphs, lora)
        prompt = torch.randn(1, 5, llm.width, generator=torch.manual_seed(1))
        prompt = torch.nn.Parameter(prompt.cuda())
        trained = [p for p in llm.parameters() if p.requires_grad] + [prompt]
        optimizer = torch.optim.SGD(trained, 0.1)
        losses.append([])
        for turn, (text, lengths) in enumerate(batches * 2):
            prefix = Prefix(prompt, torch.tensor([5]).cuda())
            prefix = prefix.expand(len(text)) if own else prefix
            loss = llm(prefix, text.cuda(), lengths.cuda()).mean()
            loss.backward()
            losses[-1].append(loss.item())
            if turn % 3:  # gradients of two batches are summed
                optimizer.step()
                optimizer.zero_grad()
        weights.append(trained)
        assert bool(llm._layers._graphs) == graphs
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    torch.testing.assert_close(*weights, rtol=1e-3, atol=1e-5)


@on_gpu
def test_recorded_training_in_bfloat16_equals_plain(tiny_llm, batches):
    losses = []
    for graphs in (True, False):
        llm = model(tiny_llm, graphs, dtype="bfloat16")
        prefix = Prefix(torch.ones(1, 5, llm.width).cuda(), torch.tensor([5]).cuda())
        trained = [p for p in llm.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(trained, 0.1)
        losses.append([])
        for text, lengths in batches:
            with llm.autocast():
                loss = llm(prefix, text.cuda(), lengths.cuda()).mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses[-1].append(loss.item())
        assert bool(llm._layers._graphs) == graphs
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)


@on_gpu
def test_validation_between_steps_is_not_recorded(tiny_llm, batches):
    llm = model(tiny_llm, True)
    prefix = Prefix(torch.randn(1, 5, llm.width).cuda(), torch.tensor([5]).cuda())
    text, lengths = (tensor.cuda() for tensor in batches[0])
    llm(prefix, text, lengths).mean().backward()
    with torch.no_grad():
        judged = llm.eval()(prefix, text, lengths)
    assert len(llm._layers._graphs) == 1
    torch.testing.assert_close(judged, llm.train()(prefix, text, lengths))


@pytest.fixture
def layers(tiny_llm, monkeypatch):
    """Recording on a CPU: what is recorded runs as it is."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (50, 100))
    llm = LLM(str(tiny_llm), dtype="float32").train()
    llm.model.base_model.layers[0].requires_grad_(True)
    layers = GraphedLayers(llm.model, record=True)
    assert not layers.record  # on a CPU
    layers.record = True
    return layers


def rows(width, count):
    mask = torch.ones(1, 1, count, count, dtype=torch.bool).tril()
    return torch.randn(1, count, width), mask, torch.arange(count)[None]


def test_each_size_is_recorded_once(layers, monkeypatch):
    recorded = []

    def record(self, embeds, mask, positions):
        recorded.append(embeds.shape[1])
        return self._plain

    monkeypatch.setattr(GraphedLayers, "_recorded", record)
    width = layers.model.get_input_embeddings().embedding_dim
    for count in (4, 6, 4, 6):
        layers(*rows(width, count))
    layers.model.eval()
    layers(*rows(width, 8))
    layers.model.train()
    with torch.no_grad():
        layers(*rows(width, 8))
    assert recorded == [4, 6]


@pytest.mark.parametrize("most, free", [(2, 50), (9, 49)])
def test_no_more_are_recorded_where_there_is_no_room(layers, monkeypatch, most, free):
    monkeypatch.setattr(cuda_graphs, "MAX_GRAPHS", most)
    monkeypatch.setattr(GraphedLayers, "_recorded", lambda self, *_: self._plain)
    width = layers.model.get_input_embeddings().embedding_dim
    for count in (4, 6):
        layers(*rows(width, count))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free, 100))
    layers(*rows(width, 8))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (90, 100))
    layers(*rows(width, 10))
    assert len(layers._graphs) == 2


def test_an_llm_that_cannot_be_recorded_is_an_error(layers, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(GraphedLayers, "_recorded", fail)
    width = layers.model.get_input_embeddings().embedding_dim
    with pytest.raises(UserError, match=r"not permitted.*cuda_graphs: false") as error:
        layers(*rows(width, 4))
    assert "more" not in str(error.value)


def test_processes_that_share_a_batch_do_not_record(tiny_llm, monkeypatch):
    llm = LLM(str(tiny_llm), dtype="float32")
    monkeypatch.setattr(type(llm.model), "device", torch.device("cuda"))
    assert GraphedLayers(llm.model, record=True).record
    monkeypatch.setattr(cuda_graphs.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(cuda_graphs.distributed, "get_world_size", lambda: 2)
    assert not GraphedLayers(llm.model, record=True).record

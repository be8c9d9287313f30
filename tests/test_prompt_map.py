import pytest
import torch
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from spft.attention import NAME
from spft.bin.prompt_map import attention, nearest, project
from spft.llm import LLM
from spft.prefix import Prefix


@pytest.fixture
def groups():
    """Everything lies in a plane of a wider space, but for a little noise."""
    torch.manual_seed(0)
    plane = torch.linalg.qr(torch.randn(8, 2)).Q.T
    sizes = {"prompt": 4, "audio": 50, "text": 30}
    spread = torch.tensor([[3.0, 0.5]])
    return {
        name: (torch.randn(n, 2) * spread) @ plane + 1e-3 * torch.randn(n, 8)
        for name, n in sizes.items()
    }


def test_distances_in_the_plane_are_kept(groups):
    flat = {name: torch.tensor(points) for name, points in project(groups).items()}
    for name, vectors in groups.items():
        expected = torch.cdist(vectors, groups["audio"])
        found = torch.cdist(flat[name], flat["audio"])
        torch.testing.assert_close(found, expected, atol=0.02, rtol=0.01)


def test_a_copied_token_is_the_nearest(groups):
    groups["prompt"][1] = 2 * groups["text"][7]
    groups["prompt"][2] = groups["audio"][3]
    found = nearest(groups, [f" w{i}" for i in range(30)])
    assert found[1]["tokens"][0] == ["w7", 1.0]
    assert found[2]["audio"] == 1.0
    closeness = [near for _, near in found[0]["tokens"]]
    assert closeness == sorted(closeness, reverse=True)


def test_attention_that_is_paid_to_a_prefix(tiny_llm):
    """Against attention worked out from the layer's own queries and keys."""
    llm = LLM(str(tiny_llm), dtype="float32")
    torch.manual_seed(0)
    prefix = Prefix(torch.randn(1, 5, llm.width), torch.tensor([5]))
    text = "play the blue song"
    with torch.inference_mode():
        found = attention(llm, [prefix], [text])
        tokens = torch.tensor([[llm.bos, *llm.encode(text)]])
        embeds = torch.cat([prefix.embeds, llm.embed(tokens)], 1)
        model, seen = llm.model.base_model, {}
        first = model.layers[0]
        handle = first.self_attn.register_forward_hook(
            lambda _, args, given, __: seen.update(given), with_kwargs=True
        )
        model(inputs_embeds=embeds, use_cache=False)
        handle.remove()
        layer, hidden = first.self_attn, seen["hidden_states"]
        heads = (1, hidden.shape[1], -1, layer.head_dim)
        query = layer.q_proj(hidden).view(heads).transpose(1, 2)
        key = layer.k_proj(hidden).view(heads).transpose(1, 2)
        query, key = apply_rotary_pos_emb(query, key, *seen["position_embeddings"])
        key = key.repeat_interleave(query.shape[1] // key.shape[1], 1)
        scores = query @ key.transpose(2, 3) * layer.scaling
        later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        weights = scores.masked_fill(later, -torch.inf).softmax(-1)
    assert len(found) == len(model.layers)
    expected = float(weights[0, :, 5:, 1:5].sum(-1).mean())
    assert found[0] == pytest.approx(expected, abs=1e-4)
    assert model.config._attn_implementation == NAME

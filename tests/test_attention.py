import pytest
import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    DynamicCache,
    GPT2Config,
    GPT2LMHeadModel,
    Lfm2Config,
    Lfm2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    NemotronConfig,
    NemotronForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from spft import attention
from spft.attention import SharedPrefix
from spft.errors import UserError

SIZE = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


def models():
    torch.manual_seed(0)
    yield LlamaForCausalLM(LlamaConfig(**SIZE, num_key_value_heads=2))
    yield Qwen2ForCausalLM(Qwen2Config(**SIZE, num_key_value_heads=1))
    yield GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=4))


@pytest.mark.parametrize("model", list(models()), ids=lambda m: type(m).__name__)
def test_equals_the_prefix_before_each_row(model):
    # Two prefixes, the first of 2 positions, with three rows of 5 tokens each.
    model.eval()
    prefix = torch.randn(2, 4, 32)
    mask = torch.tensor([[False, False, True, True], [True] * 4])
    tokens = torch.randint(0, 50, (6, 5))
    lengths = mask.sum(1)

    rows = prefix.repeat_interleave(3, 0)
    both = torch.cat([rows, model.get_input_embeddings()(tokens)], 1)
    whole = torch.cat([mask.repeat_interleave(3, 0), torch.ones(6, 5)], 1).long()
    positions = (whole.cumsum(1) - 1).clamp(min=0)
    expected = model(
        inputs_embeds=both, attention_mask=whole, position_ids=positions
    ).logits[:, 4:]

    attention.enable(model)
    cache = DynamicCache()
    model(
        inputs_embeds=prefix,
        attention_mask=mask.long(),
        position_ids=positions[::3, :4],
        past_key_values=cache,
    )
    shared = SharedPrefix(cache, mask)
    own = lengths.repeat_interleave(3)[:, None] + torch.arange(5)
    got = model(input_ids=tokens, position_ids=own, shared_prefix=shared).logits
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)

    # In two steps, and for the second group alone.
    cache, step = DynamicCache(), {"shared_prefix": shared.select([1])}
    for part in (slice(0, 3), slice(3, 5)):
        got = model(
            input_ids=tokens[3:, part],
            position_ids=own[3:, part],
            past_key_values=cache,
            **step,
        ).logits
        torch.testing.assert_close(got, expected[3:, part], rtol=1e-4, atol=1e-5)


def test_llm_without_attention_interface():
    model = BloomForCausalLM(BloomConfig(vocab_size=50, hidden_size=32, n_head=4))
    with pytest.raises(UserError, match="BloomForCausalLM cannot share a prefix"):
        attention.enable(model)


def test_llm_whose_layers_mix_neighbours():
    config = Lfm2Config(**SIZE, num_key_value_heads=2, layer_types=["conv"] * 2)
    with pytest.raises(UserError, match="Lfm2ForCausalLM has layers .*conv"):
        attention.enable(Lfm2ForCausalLM(config))


def test_llm_that_drops_the_prefix():
    model = NemotronForCausalLM(NemotronConfig(**SIZE, num_key_value_heads=4))
    with pytest.raises(UserError, match="Nemotron.* does not attend to a shared"):
        attention.enable(model)


def test_llm_with_a_window():
    config = MistralConfig(**SIZE, num_key_value_heads=2, sliding_window=6)
    model = MistralForCausalLM(config).eval()
    attention.enable(model)
    cache = DynamicCache()
    model(inputs_embeds=torch.randn(1, 4, 32), past_key_values=cache)
    shared = {"shared_prefix": SharedPrefix(cache, None)}
    model(input_ids=torch.zeros(3, 2, dtype=torch.long), **shared)
    with pytest.raises(UserError, match="7 positions, .* the last 6 alone"):
        model(input_ids=torch.zeros(3, 3, dtype=torch.long), **shared)

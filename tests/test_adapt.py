import random

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from spft import attention
from spft.adapt.abs_adapt import NoPrompt
from spft.adapt.confusions import Confusions
from spft.adapt.empty_prompt import EmptyPrompt
from spft.adapt.noisy_text import NoisyText, corrupt
from spft.adapt.soft_prompt import SoftPrompt
from spft.adapt.upsample_mask import UpsampleMask
from spft.errors import UserError
from spft.llm import LLM
from spft.prefix import Prefix


@pytest.fixture(scope="module")
def llm(tiny_llm):
    return LLM(str(tiny_llm), dtype="float32")


def tokens(llm, texts):
    rows = [torch.tensor(llm.encode(text)) for text in texts]
    padded = torch.nn.utils.rnn.pad_sequence(rows, True, padding_value=-1)
    return padded, torch.tensor([len(row) for row in rows])


def test_soft_prompt_is_one_row_for_all(llm, texts):
    prompt = SoftPrompt(llm, length=7)
    prefix = prompt(*tokens(llm, texts), llm)
    assert prefix.embeds.shape == (1, 7, llm.width)
    table = llm.model.get_input_embeddings().weight
    distances = torch.cdist(prefix.embeds[0].detach(), table).min(1).values
    assert distances.max() < 1e-3  # each starts as some token's embedding


def test_soft_prompt_initialisations(llm):
    text = SoftPrompt(llm, length=9, init="text", init_text="play the song")
    ids = llm.encode("play the song")
    torch.testing.assert_close(text.embeds[0], llm.embed(torch.tensor(ids))[0])
    normal = SoftPrompt(llm, length=200, init="normal").embeds
    scale = llm.model.get_input_embeddings().weight.std()
    assert normal.std().item() == pytest.approx(scale.item(), rel=0.1)
    for wrong in ({"length": 0}, {"init": "zeros"}, {"init": "text"}):
        with pytest.raises(UserError, match="adapt_conf"):
            SoftPrompt(llm, **{"length": 2} | wrong)


def test_no_prompt_has_no_positions(llm, texts):
    assert NoPrompt(llm)(*tokens(llm, texts), llm).embeds.shape[1] == 0


def test_empty_prompt_says_nothing(llm, texts):
    prefix = EmptyPrompt(llm, length=4)(*tokens(llm, texts), llm)
    assert prefix.embeds.shape == (1, 4, llm.width)
    torch.testing.assert_close(prefix.embeds[0, 3], llm.embedding_table().mean(0))
    assert prefix.lengths.tolist() == [4]
    with pytest.raises(UserError, match="adapt_conf"):
        EmptyPrompt(llm, length=0)


def test_upsample_and_mask(llm, texts):
    ids, lengths = tokens(llm, texts)
    whole = UpsampleMask(llm, mask=0.0)(ids, lengths, llm)
    for row, size, sentence, n in zip(
        whole.embeds, whole.lengths.tolist(), ids, lengths.tolist(), strict=True
    ):
        assert n <= size <= 2 * n
        # Without its repetitions it is the sentence, up to tokens that stood twice.
        found = torch.unique_consecutive(row[:size], dim=0)
        expected = torch.unique_consecutive(sentence[:n])
        torch.testing.assert_close(found, llm.embed(expected))
    masked = UpsampleMask(llm)(ids, lengths, llm)
    valid = torch.arange(masked.embeds.shape[1]) < masked.lengths[:, None]
    blank = (masked.embeds == llm.embedding_table().mean(0)).all(-1) & valid
    assert 0.3 < blank.sum() / masked.lengths.sum() < 0.7
    judge = UpsampleMask(llm).eval()
    first, second = (judge(ids, lengths, llm).embeds for _ in range(2))
    torch.testing.assert_close(first, second)  # dev is masked alike each time
    with pytest.raises(UserError, match="adapt_conf"):
        UpsampleMask(llm, mask=2)


@pytest.mark.parametrize(
    "method, keys", [(EmptyPrompt, {"length": 4}), (UpsampleMask, {})]
)
def test_gradients_are_finite_in_a_deep_llm(tiny_llm, texts, method, keys):
    # Zeros in the prompt's place would be multiplied in each layer's normalisation.
    config = AutoConfig.from_pretrained(tiny_llm)
    config.num_hidden_layers = 40
    torch.manual_seed(0)
    deep = LLM(str(tiny_llm), dtype="float32")
    deep.model = AutoModelForCausalLM.from_config(config)
    attention.enable(deep.model)
    ids, lengths = tokens(deep, texts)
    gradients = {}
    for name, prefix in (
        ("zeros", Prefix(torch.zeros(1, 4, deep.width), torch.tensor([4]))),
        ("blank", method(deep, **keys)(ids, lengths, deep)),
    ):
        weight = deep.model.base_model.layers[0].self_attn.k_proj.weight
        loss = deep(prefix, ids, lengths).mean()
        (gradients[name],) = torch.autograd.grad(loss, [weight])
    assert not gradients["zeros"].isfinite().all()
    assert gradients["blank"].isfinite().all() and gradients["blank"].any()


def test_noise_rate_and_form():
    rng = random.Random(0)
    clean = "the quick brown fox jumps over the lazy dog " * 50
    assert corrupt(clean.strip(), 0.0, rng) == clean.strip()
    noisy = corrupt(clean.strip(), 0.2, rng)
    import jiwer

    assert 0.1 < jiwer.cer(clean.strip(), noisy) < 0.3
    assert "  " not in noisy and noisy == noisy.strip()


def test_noisy_text_without_noise_is_the_text(llm, texts):
    prefix = NoisyText(llm, max_rate=0.0)(*tokens(llm, texts), llm)
    ids, lengths = tokens(llm, texts)
    assert prefix.lengths.tolist() == lengths.tolist()
    n = int(lengths[0])
    torch.testing.assert_close(prefix.embeds[0, :n], llm.embed(ids[0, :n]))


def test_noisy_text_misspells_as_was_learnt(llm, tmp_path):
    path = tmp_path / "confusions.json"
    Confusions.learn([("photo", "foto")] * 20).write(path)
    noisy = NoisyText(llm, confusions=str(path))
    batch = tokens(llm, ["photo"] * 100)
    prefix = noisy(*batch, llm)
    spellings = [llm.embed(torch.tensor(llm.encode(t))) for t in ("foto", "photo")]
    counts = [0, 0]
    for row, n in zip(prefix.embeds, prefix.lengths, strict=True):
        found = [len(s) == n and torch.equal(s, row[:n]) for s in spellings]
        counts[found.index(True)] += 1
    # Of a rate drawn from 0 to 2, half is 1 and more, when each error is made.
    assert 60 < counts[0] < 90


def test_validation_hears_the_same_noise_each_time(llm, texts):
    noisy = NoisyText(llm, max_rate=0.5)
    noisy.eval()
    first, second = (noisy(*tokens(llm, texts), llm) for _ in range(2))
    torch.testing.assert_close(first.embeds, second.embeds)
    noisy.train()
    first, second = (noisy(*tokens(llm, texts), llm) for _ in range(2))
    assert first.embeds.shape != second.embeds.shape or not torch.equal(
        first.embeds, second.embeds
    )

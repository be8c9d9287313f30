import pytest
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    AutoTokenizer,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
)

from spft.adapt.abs_adapt import NoPrompt
from spft.adapt.soft_prompt import SoftPrompt
from spft.errors import UserError
from spft.llm import IGNORED, LLM
from spft.model import SpeechLLM
from spft.prefix import Prefix


@pytest.fixture(scope="module")
def llm(tiny_llm):
    torch.manual_seed(0)
    return LLM(
        str(tiny_llm), dtype="float32", lora={"r": 2, "target_modules": ["q_proj"]}
    )


@pytest.fixture
def batch(llm, texts):
    rows = [torch.tensor(llm.encode(text)) for text in texts]
    lengths = torch.tensor([len(row) for row in rows])
    return pad_sequence(rows, batch_first=True, padding_value=IGNORED), lengths


def prefix_rows(llm, sizes):
    rows = [torch.randn(n, llm.width) for n in sizes]
    return Prefix(pad_sequence(rows, batch_first=True), torch.tensor(sizes))


def test_loss_is_that_of_each_sentence_alone(llm, batch):
    # Oracle: no batch, no padding, no mask; transformers' own loss.
    text, lengths = batch
    prefix = prefix_rows(llm, [3, 5, 1, 4, 2, 6, 3, 2])
    got = llm(prefix, text, lengths).split((lengths + 1).tolist())
    for i, nll in enumerate(got):
        ids = [llm.bos, *text[i, : lengths[i]].tolist(), llm.eos]
        n = int(prefix.lengths[i])
        embeds = torch.cat([prefix.embeds[i, :n], llm.embed(torch.tensor(ids))])
        labels = torch.tensor([-100] * (n + 1) + ids[1:])
        loss = llm.model(inputs_embeds=embeds[None], labels=labels[None]).loss
        torch.testing.assert_close(nll.mean(), loss, rtol=1e-5, atol=1e-5)


def test_shared_prefix_equals_one_copy_per_sentence(llm, batch):
    text, lengths = batch
    prompt = torch.randn(1, 5, llm.width, requires_grad=True)
    weight = next(p for n, p in llm.named_parameters() if "lora_B" in n)
    weight.requires_grad_(True)
    with torch.no_grad():
        weight.normal_()
    gradients = []
    for copies in (1, len(text)):
        prefix = Prefix(prompt, torch.tensor([5])).expand(copies)
        loss = llm(prefix, text, lengths).mean()
        gradients.append((loss, *torch.autograd.grad(loss, [prompt, weight])))
    for shared, own in zip(*gradients, strict=True):
        torch.testing.assert_close(shared, own, rtol=1e-4, atol=1e-6)
    assert gradients[0][1].abs().max() > 0


@pytest.mark.parametrize("sizes", [[0], [5], [3, 5, 1, 4, 2, 6, 3, 0]])
@pytest.mark.parametrize("positions", [4096, 25, 3])  # one row, several, one each
def test_sentences_packed_into_rows_equal_those_in_a_batch(
    llm, batch, sizes, positions, monkeypatch
):
    monkeypatch.setattr("spft.rows.ROW_POSITIONS", positions)
    prefix = prefix_rows(llm, sizes)
    prefix.embeds.requires_grad_(True)
    weight = next(p for n, p in llm.named_parameters() if "lora_A" in n)
    weight.requires_grad_(True)
    found = []
    for packs in (True, False):
        monkeypatch.setattr(llm, "_may_pack", lambda packs=packs: packs)
        nll = llm(prefix, *batch)
        inputs = [weight, prefix.embeds] if max(sizes) else [weight]
        found.append((nll, *torch.autograd.grad(nll.mean(), inputs)))
    for packed, batched in zip(*found, strict=True):
        torch.testing.assert_close(packed, batched, rtol=1e-4, atol=1e-6)
    assert found[0][1].abs().max() > 0


def test_what_is_packed(llm, monkeypatch):
    assert not llm._may_pack()  # on a CPU
    monkeypatch.setattr(LLM, "device", torch.device("cuda"))
    assert llm._may_pack()
    monkeypatch.setattr(llm.model.config, "sliding_window", 8, raising=False)
    assert not llm._may_pack()


@pytest.mark.parametrize("sizes", [[5, 2, 3], [4, 4, 4], [0, 0, 0]])
def test_sentences_that_share_prefixes_equal_one_copy_each(llm, batch, sizes):
    text, lengths = batch
    few = prefix_rows(llm, sizes)
    owners = torch.tensor([0, 2, 2, 0, 0, 2, 0, 0])[: len(text)]
    each = Prefix(few.embeds[owners], few.lengths[owners])
    torch.testing.assert_close(
        llm(few, text, lengths, owners), llm(each, text, lengths)
    )


@pytest.fixture
def quick_compile(monkeypatch):
    """All of torch.compile but its code generation, which takes minutes on a CPU."""
    plain = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module,
        "compile",
        lambda model, **options: plain(model, backend="aot_eager", **options),
    )
    monkeypatch.setattr(LLM, "_may_pack", lambda llm: True)  # as on a GPU


def test_compiled_model_learns_the_same(llm, tiny_llm, batch, quick_compile):
    lora = {"r": 2, "target_modules": ["q_proj"]}
    compiled = LLM(str(tiny_llm), dtype="float32", lora=lora, compile=True)
    compiled.load_state_dict(llm.state_dict())
    text, lengths = batch
    prompt = torch.randn(1, 5, llm.width, requires_grad=True)
    layers = compiled.model.base_model.layers
    for rows in (len(text), 3):  # another shape
        pairs = []
        for model in (llm, compiled.train()):
            prefix = Prefix(prompt, torch.tensor([5]))
            loss = model(prefix, text[:rows], lengths[:rows]).mean()
            pairs.append((loss, *torch.autograd.grad(loss, [prompt])))
        torch.testing.assert_close(*pairs, rtol=1e-4, atol=1e-6)
        assert all(layer._compiled_call_impl for layer in layers)


def test_llms_whose_layers_have_another_name_compile_too(
    tiny_llm, tmp_path, texts, quick_compile
):
    tokenizer = AutoTokenizer.from_pretrained(tiny_llm)
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=8, n_layer=2, n_head=2)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    llm = LLM(str(tmp_path), dtype="float32", compile=True).train()
    rows = torch.tensor([llm.encode("play the blue song")] * 2)
    prefix = Prefix(torch.randn(1, 3, 8), torch.tensor([3]))
    llm(prefix, rows, torch.full((2,), rows.shape[1]))
    assert all(layer._compiled_call_impl for layer in llm.model.transformer.h)


def test_empty_prefix_is_plain_text(llm, batch):
    text, lengths = batch
    empty = Prefix(torch.zeros(1, 0, llm.width), torch.tensor([0]))
    for prefix in (empty, empty.expand(len(text))):
        for i, nll in enumerate(
            llm(prefix, text, lengths).split((lengths + 1).tolist())
        ):
            ids = torch.tensor([[llm.bos, *text[i, : lengths[i]].tolist(), llm.eos]])
            loss = llm.model(input_ids=ids, labels=ids).loss  # transformers' own
            torch.testing.assert_close(nll.mean(), loss, rtol=1e-5, atol=1e-5)


def test_prefix_left_padding_and_concatenation():
    first = Prefix(torch.arange(6.0).reshape(2, 3, 1), torch.tensor([1, 3]))
    padded, mask = first.left_padded()
    assert padded[..., 0].tolist() == [[0, 0, 0], [3, 4, 5]]
    assert mask.tolist() == [[False, False, True], [True, True, True]]
    second = Prefix(torch.tensor([[[7.0], [8.0]]]), torch.tensor([2]))
    both = Prefix.concat(second, first)
    assert both.lengths.tolist() == [3, 5]
    assert both.embeds[0, :3, 0].tolist() == [7, 8, 0]
    assert both.embeds[1, :, 0].tolist() == [7, 8, 3, 4, 5]


def test_full_tuning_takes_small_steps(tiny_llm, batch):
    """In bfloat16 a step of 2e-5 would be rounded away from most weights."""
    none = torch.nn.Identity()
    llm = LLM(
        str(tiny_llm), dtype="bfloat16", lora={"r": 2, "target_modules": ["q_proj"]}
    )
    SpeechLLM(none, none, llm, NoPrompt(llm), ["lora_"])
    assert llm.dtype == torch.bfloat16  # where it is frozen it stays small
    llm = LLM(str(tiny_llm), dtype="bfloat16")
    model = SpeechLLM(none, none, llm, NoPrompt(llm), [r"^llm\."])
    weight = llm.model.base_model.layers[0].mlp.up_proj.weight
    before = weight.detach().clone()
    loss, _, _ = model(*batch)
    loss.backward()
    torch.optim.AdamW(model.parameters(), lr=2e-5, weight_decay=0.0).step()
    moved = (weight != before)[weight.grad != 0]
    assert moved.float().mean() > 0.9
    frozen = SpeechLLM(
        none, none, LLM(str(tiny_llm), dtype="bfloat16"), SoftPrompt(llm, 2), ["^adapt"]
    )
    state = model.state_dict()
    frozen.load_stage(state)  # what stays as it is is saved as it is, too
    for name, tensor in frozen.state_dict().items():
        assert name.startswith("adapt.") or torch.equal(tensor, state[name])


def test_a_frozen_llm_drops_nothing(tmp_path, tiny_llm, batch):
    config = GPT2Config(vocab_size=200, n_embd=16, n_layer=2, n_head=2)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_llm).save_pretrained(tmp_path)
    none = torch.nn.Identity()
    for dropout, trainable, alike in (
        (0.1, "^adapt", True),
        (0.0, "^llm", True),
        (0.1, "^llm", False),
    ):
        llm = LLM(str(tmp_path), dtype="float32", dropout=dropout)
        model = SpeechLLM(none, none, llm, SoftPrompt(llm, length=2), [trainable])
        model.train()
        first, second = (model(*batch)[0] for _ in range(2))
        assert torch.equal(first, second) == alike


def test_statistics_go_with_what_is_trained_beside_them(llm):
    projector = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 3))
    none = torch.nn.Identity()
    model = SpeechLLM(none, projector, llm, NoPrompt(llm), [r"^projector\.1"])
    assert "projector.0.running_mean" in model.saved
    assert "projector.0.weight" not in model.saved


@pytest.mark.parametrize(
    ("conf", "fault"),
    [({"dtype": "bf16"}, "'bf16' is none of auto"), ({"lora": {"rank": 16}}, "rank")],
)
def test_keys_that_no_llm_takes(tiny_llm, conf, fault):
    with pytest.raises(UserError, match=f"llm_conf: .*{fault}"):
        LLM(str(tiny_llm), **conf)


def test_llms_that_scale_their_logits_are_refused(tiny_llm, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_llm)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    config = GraniteConfig(vocab_size=len(tokenizer), **sizes, **heads)
    for scaling, refused in ((1.0, False), (8.0, True)):
        config.logits_scaling = scaling
        GraniteForCausalLM(config).save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        if refused:
            with pytest.raises(UserError, match="scales its logits .logits_scaling: 8"):
                LLM(str(tmp_path))
        else:
            LLM(str(tmp_path))


def test_embeddings_are_as_the_llm_scales_them(tiny_llm, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_llm)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
    config = Gemma3TextConfig(vocab_size=len(tokenizer), **sizes, **heads)
    Gemma3ForCausalLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    llm = LLM(str(tmp_path), dtype="float32")
    weight = llm.model.get_input_embeddings().weight
    torch.testing.assert_close(
        llm.embedding_table(), weight.detach() * 4
    )  # the root of 16
    prompt = SoftPrompt(llm, length=3).embeds.detach()
    assert all((row == llm.embedding_table()).all(1).any() for row in prompt)

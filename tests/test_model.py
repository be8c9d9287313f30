"""What a trained stage holds: its loss, its LLM, its limits."""

from pathlib import Path

import pytest
import soundfile
import torch
import yaml
from conftest import PRESET
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from spft.checkpoint import load_model
from spft.recognizer import Recognizer
from spft.search.config import DecodeConfig


def test_what_recognises_is_what_was_trained(stages, tiny_llm):
    """The LLM of the search: the pretrained weights and LoRA's product."""
    layer = "model.layers.0.self_attn.q_proj"
    start = AutoModelForCausalLM.from_pretrained(tiny_llm, dtype=torch.float32)
    start = start.state_dict()[f"{layer}.weight"]
    lora = yaml.safe_load((PRESET / "model.yaml").read_text())["llm_conf"]["lora"]
    weights = {}
    for name in ("baseline", "prompt", "soft"):
        recognizer = Recognizer(stages / name, DecodeConfig(), {})
        found = recognizer.llm.model.state_dict()
        weights[name] = found[f"{layer}.base_layer.weight"]
        saved = load_file(stages / name / "model.safetensors")
        a, b = (
            next(w for key, w in saved.items() if f"{layer}.lora_{part}." in key)
            for part in "AB"
        )
        torch.testing.assert_close(
            weights[name], start + lora["lora_alpha"] / lora["r"] * b @ a
        )
    assert torch.equal(weights["baseline"], weights["prompt"])  # step 1 leaves it
    assert not torch.equal(weights["baseline"], weights["soft"])


@pytest.mark.parametrize("llm_weight, ctc_weight", [(1, 0.3), (2, 0.5), (0, 1), (1, 0)])
def test_the_loss_weighs_its_parts(
    stages, tiny_data, llm_weight, ctc_weight, monkeypatch
):
    model = load_model(stages / "baseline")
    model.llm_weight, model.ctc_weight = llm_weight, ctc_weight
    if not llm_weight:
        monkeypatch.setattr(model.llm, "forward", None)  # not needed, so not computed
    tokens = torch.tensor([model.llm.encode("play the blue song again")])
    samples, _ = soundfile.read(tiny_data / "spk-0.wav", dtype="float32")
    loss, stats, _ = model.eval()(
        tokens, torch.tensor([tokens.shape[1]]),
        torch.tensor(samples)[None], torch.tensor([len(samples)]),
    )  # fmt: skip
    assert ("loss_llm" in stats) == bool(llm_weight)
    expected = ctc_weight * stats["loss_ctc"] + llm_weight * stats.get("loss_llm", 0)
    torch.testing.assert_close(loss, expected)
    assert stats["loss_ctc"] > 0


def test_an_attention_window_ends_hypotheses(stages, tiny_data):
    """At the window, where else the search would end in an error."""
    from spft.data.speech import find_speech

    recognizer = Recognizer(stages / "soft", DecodeConfig(), {})
    speech = find_speech(tiny_data / "paired", Path("none"))
    frames = recognizer.encode([speech.load(u) for u in speech.lengths])
    prefix, free = recognizer.prefix(*frames)
    width = prefix.embeds.shape[1]
    recognizer.llm.model.config.sliding_window = width + 12
    assert recognizer.prefix(*frames)[1] == [min(limit, 12) for limit in free]
    assert max(free) > 12

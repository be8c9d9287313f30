"""Speech encoders of transformers, random and tiny, in a baseline trained for real."""

import shutil

import numpy as np
import pytest
import soundfile
import torch
import yaml
from test_stages import PRESET
from transformers import (
    AutoTokenizer,
    Gemma2Config,
    Qwen2Config,
    Qwen2ForCausalLM,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

from spft.bin import check_config
from spft.data.speech import find_speech
from spft.encoder.encoders import (
    CachedEncoder,
    FbankConformerEncoder,
    TransformersEncoder,
)
from spft.encoder.moonshine import Moonshine
from spft.errors import UserError
from spft.recognizer import Recognizer
from spft.search.config import DecodeConfig

SMALL = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 32}


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tiny_llm):
    root = tmp_path_factory.mktemp("encoders")
    torch.manual_seed(0)
    wavlm = WavLMConfig(
        **SMALL,
        intermediate_size=32,
        conv_dim=[32] * 7,
        num_conv_pos_embedding_groups=2,
        num_conv_pos_embeddings=16,
        do_stable_layer_norm=True,
        feat_extract_norm="layer",
    )
    WavLMModel(wavlm).save_pretrained(root / "wavlm")
    features = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    features.save_pretrained(root / "wavlm")
    wav2vec2 = Wav2Vec2Config(
        **SMALL, intermediate_size=32, conv_dim=[32] * 7,
        num_conv_pos_embedding_groups=2, num_conv_pos_embeddings=16,
    )  # fmt: skip
    Wav2Vec2Model(wav2vec2).save_pretrained(root / "wav2vec2")
    Wav2Vec2FeatureExtractor().save_pretrained(root / "wav2vec2")
    whisper = WhisperConfig(
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_mel_bins=20,
        max_source_positions=150,
        vocab_size=80,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    WhisperModel(whisper).save_pretrained(root / "whisper")
    WhisperFeatureExtractor(feature_size=20, chunk_length=3).save_pretrained(
        root / "whisper"
    )
    (root / "llama").symlink_to(tiny_llm)
    tokenizer = AutoTokenizer.from_pretrained(tiny_llm)
    qwen = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        eos_token_id=tokenizer.eos_token_id,
    )
    Qwen2ForCausalLM(qwen).save_pretrained(root / "qwen")
    tokenizer.bos_token = None  # as Qwen has none
    tokenizer.save_pretrained(root / "qwen")
    return root


def encoded(folder):
    """Frames and lengths of 2 s and 1.25 s in a batch, and of the latter alone."""
    encoder = TransformersEncoder(str(folder)).eval()
    torch.manual_seed(0)
    speech, lengths = torch.randn(2, 32000), torch.tensor([32000, 20000])
    speech[1, 20000:] = 0
    with torch.inference_mode():
        together, sizes, _ = encoder(speech, lengths)
        alone, size, _ = encoder(speech[1:, :20000], lengths[1:])
    return together, sizes, alone, size


@pytest.mark.parametrize("name, rate", [("wavlm", 50), ("whisper", 50)])
def test_batching_changes_nothing(folders, name, rate):
    together, sizes, alone, size = encoded(folders / name)
    assert sizes.tolist() == pytest.approx([2 * rate, 1.25 * rate], abs=2)
    n = int(size)
    assert sizes[1] == n
    # The last frames see the padding through the convolutions.
    torch.testing.assert_close(
        together[1, : n - 2], alone[0, : n - 2], atol=1e-4, rtol=1e-3
    )


def test_group_normalisation_hears_no_padding(folders):
    together, sizes, alone, size = encoded(folders / "wav2vec2")
    assert sizes[1] == size[0] == 62 and sizes[0] == together.shape[1] == 99
    torch.testing.assert_close(together[1, :62], alone[0], atol=1e-5, rtol=1e-4)


def test_audio_beyond_the_window(folders, caplog):
    encoder = TransformersEncoder(str(folders / "whisper")).eval()
    speech = torch.randn(1, 64000)
    with torch.inference_mode():
        frames, lengths, _ = encoder(speech, torch.tensor([64000]))
        heard, _, _ = encoder(speech[:, :48000], torch.tensor([48000]))
    assert "over 3 s" in caplog.text and lengths.tolist() == [150]
    torch.testing.assert_close(frames, heard)


def test_training_leaves_out_what_the_encoder_does_not_hear(
    train, folders, tiny_data, tmp_path
):
    data = tmp_path / "long"
    shutil.copytree(tiny_data / "paired", data)
    noise = np.random.default_rng(0).normal(0, 0.1, 64000).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", noise, 16000)
    for name, words in (("text", "a long one"), ("wav.scp", f"{tmp_path}/long.wav")):
        with open(data / name, "a") as table:
            table.write(f"spk-9 {words}\n")
    preset = PRESET.parent / "large"
    result = train(
        preset / "baseline.yaml", data, tmp_path / "exp",
        "--model", preset / "model.yaml", "--",
        "--encoder_conf", f"name={folders / 'whisper'}",
        "--llm_conf", f"name={folders / 'llama'}", "--max_epoch", "1",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert f"{data}: 1 utterances left out, of more than the 48000 " in result.stderr
    assert "spk-9" not in (tmp_path / "exp/shapes/train.txt").read_text()


@pytest.mark.parametrize("encoder, llm", [("wavlm", "llama"), ("whisper", "qwen")])
def test_preset_large_with_other_names(
    train, folders, encoder, llm, tiny_data, tmp_path
):
    """Its own files, only the models' names and LoRA's size replaced."""
    preset = PRESET.parent / "large"
    result = train(
        preset / "baseline.yaml", tiny_data / "paired", tmp_path / "exp",
        "--model", preset / "model.yaml", "--",
        "--encoder_conf", f"name={folders / encoder}",
        "--llm_conf", f"name={folders / llm}",
        "--max_epoch", "1",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    prompt = train(
        PRESET / "prompt.yaml", tiny_data / "text", tmp_path / "prompt",
        "--init", tmp_path / "exp",
    )  # fmt: skip
    assert prompt.returncode == 0, prompt.stderr
    speech = find_speech(tiny_data / "paired", tmp_path)
    recognizer = Recognizer(tmp_path / "prompt", DecodeConfig(beam=2), {})
    assert recognizer.decode(speech, {}).keys() == speech.lengths.keys()


@pytest.mark.parametrize("encoder", [TransformersEncoder, Moonshine])
def test_an_encoder_that_is_not_there(encoder, tmp_path):
    with pytest.raises(UserError, match="encoder '/.* cannot be loaded .*encoder_conf"):
        encoder(str(tmp_path))


def test_audio_where_cached_frames_are_read():
    with pytest.raises(UserError, match="features of the set first: run.sh --stage 2"):
        CachedEncoder("moonshine-base")(torch.zeros(1, 16000), torch.tensor([16000]))


def test_cached_frames_where_audio_is_read(folders):
    for encoder in (TransformersEncoder(str(folders / "whisper")),
                    FbankConformerEncoder()):  # fmt: skip
        with pytest.raises(UserError, match="reads audio, and was given frames that"):
            encoder(torch.zeros(1, 300, 416), torch.tensor([300]))


def test_a_checkpoint_in_half_precision(folders, tmp_path):
    """What computes in float32 (a GPU without bfloat16) takes it as well."""
    WhisperModel.from_pretrained(folders / "whisper").half().save_pretrained(tmp_path)
    WhisperFeatureExtractor.from_pretrained(folders / "whisper").save_pretrained(
        tmp_path
    )
    encoder = TransformersEncoder(str(tmp_path))
    frames, lengths, _ = encoder(torch.zeros(1, 16000), torch.tensor([16000]))
    assert frames.dtype == torch.float32 and lengths.tolist() == [50]


@pytest.mark.parametrize(
    "changed, message",
    [
        ({}, None),
        (
            {"encoder_conf": {"name": "/no/where"}},
            "encoder '/no/where' cannot be loaded",
        ),
        ({"encoder_conf": {}}, "encoder_conf: no name"),
        ({"projector": None}, "no projector"),
        ({"llm_conf": {"name": ""}}, "llm_conf: no name"),
        ({"llm_conf": {"name": "/no/where"}}, "LLM '/no/where' cannot be loaded"),
        ({"llm_conf": {"lora": {"rank": 4}}}, "lora: .*'rank'"),
        ({"llm_conf": {"name": "gemma2"}}, "scales its logits"),
        ({"llm_conf": {"lora": None}}, "decoder.yaml: trainable: lora_, which"),
    ],
)
def test_models_are_looked_at_before_stage_1(
    folders, tmp_path, monkeypatch, changed, message
):
    keys = yaml.safe_load((PRESET.parent / "large/model.yaml").read_text())
    keys["encoder_conf"]["name"] = "whisper"
    keys["llm_conf"]["name"] = "qwen"
    for key, value in changed.items():
        keys[key] = {**keys[key], **value} if value else value
    gemma2 = folders / "gemma2"
    if not gemma2.exists():
        shutil.copytree(folders / "qwen", gemma2)
        Gemma2Config().save_pretrained(gemma2)
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(keys))
    monkeypatch.chdir(folders)
    decoder = PRESET.parents[1] / "decoder.yaml"
    command = ["x", "--model", tmp_path / "model.yaml", "--stages", decoder]
    monkeypatch.setattr("sys.argv", [str(word) for word in command])
    if message is None:
        check_config.main()
        return
    with pytest.raises(UserError, match=message):
        check_config.main()

"""Speech encoders of transformers, random and tiny, in a baseline trained for real."""

import pytest
import torch
import yaml
from test_stages import PRESET, train
from transformers import (
    Wav2Vec2FeatureExtractor,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

from spft.bin.decode import DecodeConfig
from spft.data.speech import find_speech
from spft.encoder.encoders import TransformersEncoder
from spft.errors import UserError
from spft.recognizer import Recognizer

SMALL = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 32}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
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
    return root


@pytest.mark.parametrize("name, rate", [("wavlm", 50), ("whisper", 50)])
def test_batching_changes_nothing(folders, name, rate):
    encoder = TransformersEncoder(str(folders / name)).eval()
    torch.manual_seed(0)
    speech, lengths = torch.randn(2, 32000), torch.tensor([32000, 20000])
    speech[1, 20000:] = 0
    with torch.inference_mode():
        together, sizes, _ = encoder(speech, lengths)
        alone, size, _ = encoder(speech[1:, :20000], lengths[1:])
    seconds = (lengths / 16000).tolist()
    assert sizes.tolist() == pytest.approx([s * rate for s in seconds], abs=2)
    n = int(size)
    assert sizes[1] == pytest.approx(n, abs=1)
    # The last frames see the padding through the convolutions.
    torch.testing.assert_close(
        together[1, : n - 2], alone[0, : n - 2], atol=1e-4, rtol=1e-3
    )


def test_audio_beyond_the_window(folders):
    encoder = TransformersEncoder(str(folders / "whisper"))
    with pytest.raises(UserError, match="over 3 s"):
        encoder(torch.zeros(1, 64000), torch.tensor([64000]))


@pytest.mark.parametrize("name", ["wavlm", "whisper"])
def test_baseline_with_the_plain_projector(
    folders, name, tiny_llm, tiny_data, tmp_path
):
    keys = yaml.safe_load((PRESET / "model.yaml").read_text())
    keys["llm_conf"]["name"] = str(tiny_llm)
    keys |= {
        "encoder": "transformers",
        "encoder_conf": {"name": str(folders / name)},
        "projector": "stack",
        "projector_conf": {"stack": 4, "hidden_size": 32},
    }
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(keys))
    config = yaml.safe_load((PRESET / "baseline.yaml").read_text())
    config |= {"trainable": ["^projector\\.", "lora_"], "max_epoch": 1}
    (tmp_path / "baseline.yaml").write_text(yaml.safe_dump(config))
    result = train(tmp_path / "baseline.yaml", tiny_data / "paired", tmp_path / "exp",
                   "--model", tmp_path / "model.yaml")  # fmt: skip
    assert result.returncode == 0, result.stderr
    speech = find_speech(tiny_data / "paired", tmp_path)
    recognizer = Recognizer(tmp_path / "exp", DecodeConfig(beam=2), {})
    assert recognizer.decode(speech, {}).keys() == speech.lengths.keys()

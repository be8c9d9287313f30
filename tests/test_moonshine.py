"""The real encoder and its decoder on utterances of the embedded corpus."""

import json
from pathlib import Path

import jiwer
import pytest
import torch
from transformers.models.moonshine.modeling_moonshine import (
    MoonshineEncoderModelOutput,
)

from spft.data.audio import read_audio
from spft.data.normalize import normalize
from spft.encoder.moonshine import Moonshine, _SilenceAtFirst
from spft.pretrained import resolve

CORPUS = Path(__file__).parents[1] / "egs2/librispeech/asr1/downloads"


@pytest.fixture(scope="module")
def moonshine():
    return Moonshine(resolve("moonshine-base"), "cpu")


@pytest.fixture(scope="module")
def spoken(moonshine):
    """Texts and frames of four utterances."""
    lines = (CORPUS / "test.jsonl").read_text(encoding="utf-8").splitlines()[:4]
    rows = [json.loads(line) for line in lines]
    audio = [read_audio(CORPUS / "audio" / f"{row['id']}.ogg") for row in rows]
    return [row["text"] for row in rows], [moonshine.encode(wave) for wave in audio]


def test_it_reads_the_corpus(moonshine, spoken):
    texts, frames = spoken
    written = moonshine.transcribe(frames)
    assert jiwer.wer(texts, [normalize(text) for text in written]) < 0.1
    # Written text, from the real tokenizer: case and punctuation.
    assert all(text[0].isupper() and text[-1] in ".?!" for text in written)
    for row, text in zip(frames, written, strict=True):
        assert moonshine.transcribe([row]) == [text]


def test_scores_are_those_of_the_model(moonshine, spoken):
    texts, frames = spoken
    row = torch.from_numpy(frames[0])
    candidates = [texts[0], "the", texts[1]]
    scores = moonshine.score(row, candidates)
    assert scores[0] == max(scores)
    states = MoonshineEncoderModelOutput(last_hidden_state=row[None])
    for text, score in zip(candidates, scores, strict=True):
        tokens = moonshine.tokenizer(text, add_special_tokens=False)["input_ids"]
        total, seen = 0.0, [1]
        for token in [*tokens, 2]:
            with torch.inference_mode():
                logits = moonshine.model(
                    encoder_outputs=states, decoder_input_ids=torch.tensor([seen])
                ).logits[0, -1]
            total += float(logits.log_softmax(-1)[token])
            seen.append(token)
        assert score == pytest.approx(total, abs=1e-3)


def test_the_transcript_is_what_a_beam_search_finds(moonshine, spoken):
    # Noise makes it doubt; a batch of unequal lengths, padded.
    generator = torch.Generator().manual_seed(0)
    rows = [torch.from_numpy(frames) for frames in spoken[1]]
    rows = [row + torch.randn(row.shape, generator=generator) * 1.5 for row in rows]
    found = moonshine.transcribe([row.numpy() for row in rows])
    better = 0
    for row, text in zip(rows, found, strict=True):
        states = MoonshineEncoderModelOutput(last_hidden_state=row[None])
        bound = int(len(row) / moonshine.frames_per_second * 6.5) + 2
        texts = []
        for beam in (1, 4):
            with torch.inference_mode():
                tokens = moonshine.model.generate(
                    encoder_outputs=states,
                    attention_mask=torch.ones(1, 1),
                    max_new_tokens=bound,
                    num_beams=beam,
                    length_penalty=0.0,
                )[0]
            written = moonshine.tokenizer.decode(tokens, skip_special_tokens=True)
            texts.append(" ".join(written.split()))
        greedy, best = texts
        assert text == best
        scores = moonshine.score(row, texts)
        better += scores[1] > scores[0]
    assert better, "noise enough that greedy search misses something"


def test_plain_words_are_judged_in_written_form(moonshine, spoken):
    _, frames = spoken
    row, written = torch.from_numpy(frames[0]), moonshine.transcribe(frames[:1])[0]
    plain = normalize(written)
    as_they_are, like_that = (
        moonshine.score(row, [plain], x)[0] for x in ("", written)
    )
    assert like_that == pytest.approx(moonshine.score(row, [written])[0], abs=1e-3)
    assert like_that > as_they_are


def test_a_text_is_scored_once(moonshine, spoken, monkeypatch):
    texts, frames = spoken
    row, heard, asked = torch.from_numpy(frames[0]), {}, []
    score = moonshine._score
    monkeypatch.setattr(
        moonshine, "_score", lambda f, new: asked.append(new) or score(f, new)
    )
    first, second, third = texts[:3]
    told = moonshine.score(row, [first, second, first], known=heard)
    more = moonshine.score(row, [third, first], known=heard)
    moonshine.score(row, [second], known=heard)
    assert asked == [[first, second], [third]]
    assert told[0] == told[2] == more[1]
    alone = [moonshine.score(row, [text])[0] for text in (first, second, third)]
    assert [*told[:2], more[0]] == pytest.approx(alone, abs=1e-3)


def test_the_tokenizer_is_sentencepieces(moonshine):
    # Ids as Llama's tokenizer, which Moonshine's is, gives them.
    assert moonshine.tokenizer("I'll have", add_special_tokens=False)["input_ids"] == [
        *(306, 29915, 645, 505)
    ]
    for text in ("play natalia lafourcade", "naïve ☃ café"):
        tokens = moonshine.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert moonshine.tokenizer.decode(tokens) == text


def test_nothing_is_heard_only_where_that_is_likeliest():
    said = torch.tensor([[-0.5, -1.0, -2.5], [-2.0, -3.0, -0.2]])
    start = torch.ones(2, 1, dtype=torch.long)
    scores = _SilenceAtFirst(eos=2)(start, said.clone())
    assert scores[0].tolist() == [-0.5, -1.0, -torch.inf]
    assert scores[1].tolist() == said[1].tolist()
    later = torch.ones(2, 3, dtype=torch.long)
    assert _SilenceAtFirst(eos=2)(later, said.clone()).tolist() == said.tolist()

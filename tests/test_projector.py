import jiwer
import pytest
import torch

from spft.errors import UserError
from spft.llm import LLM
from spft.projector.ctc import (
    ALPHABET,
    RESIDUAL_SCALE,
    CTCProjector,
    _spans,
    letter_spans,
)
from spft.projector.stack import StackProjector


@pytest.fixture(scope="module")
def llm(tiny_llm):
    return LLM(str(tiny_llm), dtype="float32")


def classes(string):
    return torch.tensor([0 if c == "_" else ALPHABET.index(c) + 1 for c in string])


def test_greedy_string_and_spans():
    string, spans = _spans(classes("__aa_b  _ b__"))
    assert string == "ab b"
    assert spans == [(2, 4), (5, 6), (6, 8), (10, 11)]
    assert _spans(classes("____")) == ("", [])
    assert _spans(classes("_ a _"))[0] == "a"


def test_at_the_start_the_prefix_is_the_spelt_text(llm):
    torch.manual_seed(0)
    projector = CTCProjector(8, llm, hidden_size=16).eval()
    frames, lengths = torch.randn(2, 40, 8), torch.tensor([40, 25])
    prefix, figures = projector(frames, lengths, llm, ["a song", "a"])
    hidden = projector._hidden(frames, lengths)
    for i, n in enumerate(lengths.tolist()):
        string, _ = _spans(projector.letters(hidden)[i, :n].argmax(-1))
        tokens = llm.encode(string)
        assert prefix.lengths[i] == len(tokens) > 0
        expected = llm.embed(torch.tensor(tokens))
        torch.testing.assert_close(prefix.embeds[i, : len(tokens)], expected)
    spelt = [_spans(projector.letters(hidden)[i, :n].argmax(-1))[0]
             for i, n in enumerate(lengths.tolist())]  # fmt: skip
    assert figures["cer"].item() == pytest.approx(jiwer.cer(["a song", "a"], spelt))


def test_alignment_finds_the_letters_in_the_frames():
    path = "__aa_b  _bb_b"
    certain = torch.full((len(path), len(ALPHABET) + 1), -20.0)
    certain[range(len(path)), classes(path)] = 0.0
    string, spans = _spans(classes(path))
    assert string == "ab bb" and letter_spans(certain, string) == spans
    # A string that differs finds its place; one that does not fit is laid out evenly.
    assert letter_spans(certain, "ab bab")[:3] == spans[:3]
    crowded = letter_spans(certain, "a" * 28)
    assert len(crowded) == 28 and all(0 <= a < b <= 13 for a, b in crowded)
    assert letter_spans(certain, "") == []


def test_the_prefix_spells_the_first_pass(llm):
    torch.manual_seed(0)
    projector = CTCProjector(8, llm, hidden_size=16, first_pass=True).eval()
    frames, lengths = torch.randn(2, 40, 8), torch.tensor([40, 25])
    strings = ["play the song", ""]
    prefix, _ = projector(frames, lengths, llm, first_pass=strings)
    tokens = llm.encode(strings[0])
    assert prefix.lengths.tolist() == [len(tokens), 0]
    torch.testing.assert_close(prefix.embeds[0], llm.embed(torch.tensor(tokens)))
    with pytest.raises(UserError, match="reads a first pass"):
        projector(frames, lengths, llm)


def test_each_token_is_corrected_by_the_frames_under_it(llm):
    torch.manual_seed(0)
    projector = CTCProjector(8, llm, hidden_size=16, first_pass=True).eval()
    torch.nn.init.normal_(projector.residual.weight)
    frames, lengths = torch.randn(1, 40, 8), torch.tensor([40])
    string = "play the song"
    prefix, _ = projector(frames, lengths, llm, first_pass=[string])
    hidden = projector._hidden(frames, lengths)[0]
    letters = letter_spans(projector.log_probs(frames, lengths)[0], string)
    coded = llm.tokenizer(string, add_special_tokens=False, return_offsets_mapping=True)
    pieces = [letters[a : max(b, a + 1)] for a, b in coded["offset_mapping"]]
    assert len({(piece[0], piece[-1]) for piece in pieces}) > 3
    for token, piece, embed in zip(
        coded["input_ids"], pieces, prefix.embeds[0], strict=True
    ):
        frames_under = hidden[piece[0][0] : piece[-1][1]]
        correction = RESIDUAL_SCALE * projector.residual(frames_under.mean(0))
        expected = llm.embed(torch.tensor([token]))[0] + correction
        torch.testing.assert_close(embed, expected, rtol=1e-4, atol=1e-5)


def test_ctc_loss_is_torchs_own_per_utterance(llm):
    torch.manual_seed(0)
    projector = CTCProjector(8, llm, hidden_size=16).eval()
    frames, lengths = torch.randn(2, 40, 8), torch.tensor([40, 25])
    _, figures = projector(frames, lengths, llm, ["a song", "play"])
    losses = []
    for i, text in enumerate(["a song", "play"]):
        single, n = frames[i : i + 1, : lengths[i]], lengths[i : i + 1]
        log_probs = projector.letters(projector._hidden(single, n)).log_softmax(-1)[0]
        target = torch.tensor([ALPHABET.index(c) + 1 for c in text])
        sizes = [torch.tensor(len(log_probs)), torch.tensor(len(text))]
        loss = torch.nn.functional.ctc_loss(log_probs, target, *sizes, reduction="sum")
        losses.append(loss / len(text))
    torch.testing.assert_close(figures["ctc"], sum(losses) / 2)


@pytest.mark.parametrize("make", [CTCProjector, StackProjector])
@pytest.mark.parametrize("frames_alone", [24, 25])  # whole stacks, or not
def test_batching_changes_nothing(llm, make, frames_alone):
    torch.manual_seed(1)
    projector = make(8, llm, hidden_size=16).eval()
    if make is CTCProjector:
        torch.nn.init.normal_(projector.residual.weight)
        for block in projector.blocks:
            torch.nn.init.normal_(block.norm.bias)
    # What an encoder makes of padding need not be 0.
    frames, lengths = torch.randn(2, 41, 8), torch.tensor([41, frames_alone])
    together, _ = projector(frames, lengths, llm)
    alone, _ = projector(frames[1:, :frames_alone], lengths[1:], llm)
    n = int(alone.lengths)
    assert together.lengths[1] == n > 0
    torch.testing.assert_close(
        together.embeds[1, :n], alone.embeds[0], rtol=1e-4, atol=1e-5
    )


def test_the_residual_learns_from_the_decoder(llm):
    torch.manual_seed(0)
    projector = CTCProjector(8, llm, hidden_size=16)
    prefix, _ = projector(torch.randn(1, 60, 8), torch.tensor([60]), llm)
    prefix.embeds.square().sum().backward()
    assert projector.residual.weight.grad.abs().max() > 0

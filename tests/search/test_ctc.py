import numpy as np
import pytest
import torch
from beam_helpers import BOS, EOS, random_prefix, tiny_llama
from espnet2.legacy.nets.ctc_prefix_score import CTCPrefixScore
from torch.nn import functional as F

from spft.search.beam import BeamSearch, BeamSearchConfig
from spft.search.ctc import CTCPrefixScorer, Spelling
from spft.search.scorers import WeightedScorer

# Token ids: 0 bos, 1 eos, then words and pieces over the letters a and b.
TOKENS = ["<s>", "</s>", "a", "b", "ab", " a", "ba b", "aa", "é", ""]
ALPHABET = " ab"
FRAMES = [12, 7, 15]
IMPOSSIBLE = -1e5  # the string needs more frames than there are


@pytest.fixture
def log_probs():
    torch.manual_seed(0)
    return (2 * torch.randn(3, max(FRAMES), len(ALPHABET) + 1)).log_softmax(-1)


@pytest.fixture
def scorer(log_probs):
    spelling = Spelling.of(TOKENS, ALPHABET)
    return CTCPrefixScorer(log_probs, torch.tensor(FRAMES), spelling, 1)


def letters(tokens):
    text = "".join(TOKENS[t] for t in tokens).lstrip()  # a word mark is not said
    return [ALPHABET.index(c) + 1 for c in text]


def espnet_prefix_score(log_probs, string):
    """log p(all strings that begin with ``string``) by ESPnet's own scorer."""
    x = np.concatenate([log_probs.numpy(), np.full((len(log_probs), 1), -1e10)], 1)
    oracle = CTCPrefixScore(x, 0, x.shape[1] - 1, np)
    state, y, score = oracle.initial_state(), [x.shape[1] - 1], 0.0
    for letter in string:
        score, states = oracle(y, np.array([letter]), state)
        score, state, y = float(score[0]), states[0], [*y, letter]
    return score


def test_spelling():
    spelling = Spelling.of(TOKENS, ALPHABET)
    assert spelling.lengths.tolist() == [-1, -1, 1, 1, 2, 2, 4, 2, -1, -1]
    assert spelling.classes[6].tolist() == [3, 2, 1, 3]


def test_equals_espnet_letter_by_letter(scorer, log_probs):
    """Along hypotheses whose rows change places at each step."""
    hypotheses = [[4, 7, 5], [3, 2, 6], [7, 6, 2]]
    state, candidates = scorer.initial(3), torch.arange(len(TOKENS)).expand(3, -1)
    order, newest = torch.arange(3), torch.zeros(3, dtype=torch.long)
    compared = 0
    for step in range(4):
        scores, state = scorer.score_partial(newest, candidates, state)
        for row, u in enumerate(order.tolist()):
            x = log_probs[u, : FRAMES[u]]
            said = hypotheses[u][:step]
            before = espnet_prefix_score(x, letters(said))
            for token in (2, 3, 4, 5, 6, 7):
                expected = espnet_prefix_score(x, letters([*said, token])) - before
                if expected > IMPOSSIBLE:
                    assert scores[row, token] == pytest.approx(expected, abs=1e-3)
                    compared += 1
            target = torch.tensor(letters(said), dtype=torch.long)
            sizes = [torch.tensor(len(x)), torch.tensor(len(target))]
            whole = -F.ctc_loss(x, target, *sizes, reduction="sum") - before
            if whole > IMPOSSIBLE:
                assert scores[row, 1] == pytest.approx(float(whole), abs=1e-3)
            assert scores[row, 8] == scores[row, 9] == -torch.inf
        if step < 3:
            order = order.roll(1)
            state = scorer.select(state, torch.tensor([2, 0, 1]))
            newest = torch.tensor([hypotheses[u][step] for u in order.tolist()])
    assert compared > 50


def test_pieces_of_a_tokenizer(tiny_llm):
    from spft.llm import LLM

    llm = LLM(str(tiny_llm), dtype="float32")
    pieces = llm.pieces
    assert len(pieces) == llm.model.get_output_embeddings().weight.shape[0]
    tokens = llm.encode("play the blue song")
    assert "".join(pieces[t] for t in tokens).strip() == "play the blue song"
    assert sum(pieces[t].startswith(" ") for t in tokens) >= 3


def joint_search(posteriors, vocabulary, weight, **config):
    """Beam search of a tiny random LLM beside CTC posteriors, all frames long."""
    scorer = CTCPrefixScorer(
        posteriors.log_softmax(-1),
        torch.full((len(posteriors),), posteriors.shape[1]),
        Spelling.of(vocabulary, ALPHABET),
        EOS,
    )
    config = BeamSearchConfig(**config)
    scorers = {"ctc": WeightedScorer(scorer, weight)}
    return BeamSearch(tiny_llama(37), BOS, EOS, scorers, config)


def test_search_finds_what_the_ctc_head_heard():
    """An LLM that knows nothing, beside CTC posteriors that are sure."""
    said = ["a a ab", "ab", "bba"]
    sure = torch.full((3, 15, len(ALPHABET) + 1), -8.0)
    for row, string in enumerate(said):
        spelt = [c for x in string for c in (ALPHABET.index(x) + 1, 0)]
        for t in range(15):
            sure[row, t, spelt[t] if t < len(spelt) else 0] = 0.0
    # The tiny LLM's bos and eos are 1 and 2.
    vocabulary = ["", "<s>", "</s>", *TOKENS[2:]]
    vocabulary += [""] * (37 - len(vocabulary))
    search = joint_search(sure, vocabulary, 3.0)
    for row, string in zip(
        search(random_prefix([3, 5, 2]), [9] * 3), said, strict=True
    ):
        assert "".join(vocabulary[t] for t in row[0].tokens).lstrip() == string
        assert set(row[0].parts) == {"llm", "ctc"}


def test_more_letters_than_frames():
    """Of two frames nothing longer than two letters can be: what can be is found."""
    torch.manual_seed(0)
    vocabulary = ["", "<s>", "</s>", "a", "b"]
    vocabulary += ["aba"] * (37 - len(vocabulary))
    frames = torch.randn(1, 2, len(ALPHABET) + 1)
    search = joint_search(frames, vocabulary, 0.1, beam=4)
    (found,) = search(random_prefix([3]), [6])
    texts = {"".join(vocabulary[t] for t in h.tokens) for h in found}
    assert len(found) == 4 and texts <= {"", "a", "b", "ab", "ba"}
    assert all(h.score > -torch.inf for h in found)
    # Nor is there more room beside a longer utterance.
    frames = torch.cat([frames, torch.randn(1, 2, len(ALPHABET) + 1)], 1)
    search = joint_search(frames.expand(2, -1, -1), vocabulary, 0.1, beam=4)
    search.partial["ctc"].scorer.lengths[0] = 2
    beside, _ = search(random_prefix([3, 3]), [6, 6])
    assert {"".join(vocabulary[t] for t in h.tokens) for h in beside} <= {
        "", "a", "b", "ab", "ba"
    }  # fmt: skip

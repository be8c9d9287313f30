"""The second pass asks the judges of the search, and chooses their weights."""

from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from beam_helpers import BOS, EOS, random_prefix, tiny_llama

from spft.bin.second_pass import check_search
from spft.errors import UserError
from spft.search.beam import BeamSearch, BeamSearchConfig
from spft.search.candidates import Candidates
from spft.search.config import DecodeConfig
from spft.search.ctc import CTCPrefixScorer, Spelling, score_by_ctc
from spft.search.judges import score_by_lm
from spft.search.phrases import Phrases
from spft.search.scorers import WeightedScorer
from spft.search.second_pass import SecondPass
from spft.search.tuning import grid_search, one_by_one

VOCABULARY = ["", "<s>", "</s>", "a", "b", "ab", " a", "ba b", "aa"]
VOCABULARY += [""] * (37 - len(VOCABULARY))


class Bigram:
    """A language model of one matrix: a full scorer without a library around it."""

    def __init__(self):
        torch.manual_seed(1)
        self.log_probs = torch.randn(37, 37).log_softmax(-1)

    def initial(self, n):
        return None

    def score(self, tokens, state):
        return self.log_probs[tokens], None

    def select(self, state, index):
        return None


def test_lists_of_another_search_are_refused():
    config, inputs = DecodeConfig(), {"dump/dev/first_pass": "1f"}
    report = {"config": asdict(config) | {"beam": 1}, "sha256": inputs}
    check_search(config, inputs, report, Path("decode_lm"))
    for other in ({"dump/dev/first_pass": "2f"}, inputs | {"dump/dev/more": "3f"}):
        with pytest.raises(UserError, match="decode_lm: not of dump/dev/"):
            check_search(config, other, report, Path("decode_lm"))
    for key, value in (("first_pass_weight", 0.0), ("keep_prompt", True)):
        with pytest.raises(UserError, match=f"decode_lm: searched with {key} {value}"):
            report = {"config": asdict(config) | {key: value}}
            check_search(config, inputs, report, Path("decode_lm"))


def test_texts_are_judged_as_in_the_search():
    torch.manual_seed(0)
    log_probs = (2 * torch.randn(2, 15, 4)).log_softmax(-1)
    spelling, lengths = Spelling.of(VOCABULARY, " ab"), torch.tensor([15, 11])
    ctc = CTCPrefixScorer(log_probs, lengths, spelling, EOS)
    scorers = {"lm": WeightedScorer(Bigram(), 1.0), "ctc": WeightedScorer(ctc, 1.0)}
    config = BeamSearchConfig()
    search = BeamSearch(tiny_llama(37), BOS, EOS, scorers, config)
    for row, nbest in enumerate(search(random_prefix([3, 5]), [9, 9])):
        whole = [h for h in nbest if not h.truncated]
        assert len({len(h.tokens) for h in whole}) > 1
        tokens = [h.tokens for h in whole]
        texts = ["".join(VOCABULARY[t] for t in row).lstrip() for row in tokens]
        found = {
            "lm": score_by_lm(Bigram(), tokens, BOS, EOS),
            "ctc": score_by_ctc(log_probs[row, : lengths[row]], texts, " ab"),
        }
        for name, scores in found.items():
            expected = torch.tensor([h.parts[name] for h in whole])
            possible = expected > -1e3  # more letters than frames: a floor, not -inf
            assert possible.any()
            torch.testing.assert_close(
                scores[possible], expected[possible], atol=1e-3, rtol=1e-4
            )


def test_a_new_name_is_as_likely_as_others_of_its_kind():
    """Ranked, with the bonus for tokens, as the mean of texts with others' names."""
    ids = {"play": [5], "a": [6], "b": [7, 8], "x": [9, 9, 9]}
    config = SimpleNamespace(lm_length_bonus=1.5)
    llm = SimpleNamespace(bos=BOS, eos=EOS, device="cpu")
    llm.encode = lambda text: [token for word in text.split() for token in ids[word]]
    recognizer = SimpleNamespace(llm=llm, scorers={"lm": Bigram()}, config=config)
    second = SecondPass(recognizer, Phrases(["a", "b"], new=["x"]))
    texts = ["play a", "play b", "play x"]
    tokens = [llm.encode(text) for text in texts]
    found = second._language_model("lm", texts, tokens)
    assert found[:2] == score_by_lm(Bigram(), tokens[:2], BOS, EOS).tolist()
    a, b, x = (
        np.exp(score + 1.5 * len(row)) for score, row in zip(found, tokens, strict=True)
    )
    assert x == pytest.approx((a + b) / 2, rel=1e-4)


def test_letters_that_the_head_does_not_know():
    log_probs = torch.zeros(5, 4).log_softmax(-1)
    scores = score_by_ctc(log_probs, ["ab", "x", ""], " ab")
    assert scores[1] == -torch.inf and scores[[0, 2]].isfinite().all()
    assert scores[2] == pytest.approx(5 * log_probs[0, 0].item())
    assert score_by_ctc(log_probs, [""], " ab").tolist() == scores[2:].tolist()


def random_candidates(utterances=12):
    torch.manual_seed(3)
    found = {}
    for u in range(utterances):
        texts = [f"text {n}" for n in range(5)]
        log_probs = {
            name: (-10 * torch.rand(5)).tolist()
            for name in ("llm", "ctc", "ngram", "first_pass")
        }
        found[f"u{u}"] = Candidates(texts, [[4] * (n + 1) for n in range(5)], log_probs)
    return found


def test_the_weighted_sum_ranks():
    candidates = random_candidates()["u0"]
    weights = {"ctc": 0.5, "ngram": 2.0}
    ranked = candidates.ranked(weights, length_bonus=1.5)
    for hypothesis in ranked:
        n = len(hypothesis.tokens) - 1
        logs = {name: row[n] for name, row in candidates.log_probs.items()}
        expected = logs["llm"] + 0.5 * logs["ctc"] + 2 * logs["ngram"] + 3.0 * (n + 2)
        assert hypothesis.score == pytest.approx(expected)
        assert set(hypothesis.parts) == {"llm", "ctc", "ngram", "length"}
    scores = [hypothesis.score for hypothesis in ranked]
    assert scores == sorted(scores, reverse=True)


def test_weights_of_fewest_errors_are_found():
    candidates = random_candidates()
    grids = {"ctc": [0.0, 0.5, 1.0], "ngram": [0.0, 1.0, 3.0]}
    # Right is what some weights on the grid put first; they are to be found again.
    secret = {"ctc": 0.5, "ngram": 1.0}
    right = {u: c.ranked(secret, 1.0)[0].tokens for u, c in candidates.items()}
    errors = {u: [t != right[u] for t in c.tokens] for u, c in candidates.items()}
    weights, sweep = grid_search(grids, [0.0], candidates, errors, 1.0)
    assert weights.pop("gate") == 0.0

    def count(weights):
        ranked = {u: c.ranked(weights, 1.0) for u, c in candidates.items()}
        return sum(ranked[u][0].tokens != right[u] for u in right)

    counts = np.array(
        [[count({"ctc": a, "ngram": b}) for b in grids["ngram"]] for a in grids["ctc"]]
    )
    # The mean with the neighbours, by hand.
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    padded = np.pad(counts, 1, "edge")
    means = {
        (a, b): (padded[i : i + 3, j : j + 3] * kernel).sum()
        for i, a in enumerate(grids["ctc"])
        for j, b in enumerate(grids["ngram"])
    }
    assert means[weights["ctc"], weights["ngram"]] == min(means.values())
    assert len(sweep) == 5, "a cross through the weights"
    for row in sweep:
        assert row["error"] == count({"ctc": row["ctc"], "ngram": row["ngram"]})
        assert row["ctc"] == weights["ctc"] or row["ngram"] == weights["ngram"]


def test_what_a_judge_holds_impossible_may_have_no_weight():
    logs = {"llm": [-1.0, -2.0], "ctc": [-float("inf"), -1.0]}
    candidates = {"u": Candidates(["a", "b"], [[3], [4]], logs)}
    for errors, weight in (([0, 1], 0.0), ([1, 0], 1.0)):
        grids = {"ctc": [0.0, 1.0]}
        weights, _ = grid_search(grids, [0.0], candidates, {"u": errors}, 0.0)
        assert weights == {"ctc": weight, "gate": 0.0}
    # Where it holds all of them so, the others decide, as in the choice of weights.
    logs = {"llm": [-2.0, -1.0], "ctc": [-float("inf")] * 2}
    ranked = Candidates(["a", "b"], [[3], [4]], logs).ranked({"ctc": 1.0}, 0.0)
    assert [h.tokens for h in ranked] == [[4], [3]]
    assert all(np.isfinite(h.score) for h in ranked)


def test_language_models_judge_what_is_of_the_domain():
    """The gate of fewest errors: LMs are right where the ratio is 1 or more."""
    candidates, errors = {}, {}
    for n, ratio in enumerate([-2.0, -1.0, 1.0, 2.0]):
        logs = {"llm": [-1.0, -2.0], "ngram": [-9.0, -1.0], "ctc": [-1.0, -1.5]}
        candidates[f"u{n}"] = Candidates(["a", "b"], [[3], [4]], logs, ratio)
        errors[f"u{n}"] = [0, 1] if ratio < 0 else [1, 0]
    grids = {"ctc": [1.0], "ngram": [1.0]}
    weights, sweep = grid_search(grids, [-3.0, 0.0, 3.0], candidates, errors, 1.0)
    assert weights == {"ctc": 1.0, "ngram": 1.0, "gate": 0.0}
    found = {row["gate"]: row["error"] for row in sweep}
    assert found == {-3.0: 2, 0.0: 0, 3.0: 2}
    for ratio, best in ((-1.0, "llm ctc"), (0.0, "llm ctc ngram length")):
        logs = candidates["u0"].log_probs
        ranked = Candidates(["a", "b"], [[3], [4]], logs, ratio).ranked(weights, 1.0)
        assert list(ranked[0].parts) == best.split()
        assert ranked[0].tokens == ([3] if ratio < 0 else [4])


def test_weights_one_by_one():
    errors = {(0, 0): 3, (1, 0): 4, (0, 1): 2, (1, 1): 1}
    weights, tried = one_by_one(
        {"lm": [0, 1], "ngram": [1]}, lambda weights: errors[tuple(weights.values())]
    )
    assert weights == {"lm": 0, "ngram": 1}
    assert [row["error"] for row in tried] == [3, 4, 2]


def test_of_equal_weights_those_in_the_middle():
    logs = {"llm": [-1.0, -2.0], "ctc": [-1.0, -1.0]}
    candidates = {"u": Candidates(["a", "b"], [[3], [4]], logs)}
    grids = {"ctc": [0.0, 0.5, 1.0, 2.0, 4.0]}
    weights, _ = grid_search(grids, [-1.0, 0.0, 1.0], candidates, {"u": [0, 1]}, 0.0)
    assert weights == {"ctc": 1.0, "gate": 0.0}

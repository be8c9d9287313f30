"""The neural LM and the n-gram, trained through their commands, in the search."""

import math
import os
import shutil
import sys
from pathlib import Path

import kenlm
import pytest
import torch
import yaml
from beam_helpers import BOS, EOS, random_prefix, tiny_llama

from spft.bin import prepare_lm, train_lm, train_ngram
from spft.errors import UserError
from spft.search.beam import BeamSearch
from spft.search.neural_lm import NeuralLM
from spft.search.ngram import NgramLM
from spft.search.scorers import VocabularyMap, WeightedScorer

ROOT = Path(__file__).parents[2]
VOCAB = 120
SENTENCES = ["play the song", "play a song by the band", "stop the music", "play on"]
# Configuration and the options that make it tiny.
LMS = {
    "lm": ["unit=16"],
    "gru": ["unit=16", "rnn_type=gru"],
    "tuning/lm_lstm6": ["unit=8"],
    "tuning/lm_transformer": ["layer=2", "att_unit=16", "embed_unit=8", "unit=16"],
}


def call(module, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
    module.main()


def write_text(path: Path, count: int) -> Path:
    lines = [f"u{i:03d} {SENTENCES[i % 4]} {'xq'[i % 2]}\n" for i in range(count)]
    path.write_text("".join(lines))
    return path


@pytest.fixture
def encoder(monkeypatch):
    """Letters as tokens 10 .. 36, space 9, instead of a real tokenizer."""

    def encode(text):
        return [9 if c == " " else ord(c) - ord("a") + 10 for c in text]

    monkeypatch.setattr("spft.data.tokens.load_encoder", lambda name: encode)
    return encode


@pytest.fixture
def data(tmp_path, encoder, monkeypatch):
    train = write_text(tmp_path / "train", 40)
    with train.open("a") as stream:
        stream.write("v play jazz\n")  # two letters that occur once or twice
    valid = write_text(tmp_path / "valid", 8)
    out = tmp_path / "data"
    call(prepare_lm, monkeypatch, "--text", train, "--valid", valid, "--out", out)
    return out


def config_of(kind: str) -> Path:
    return ROOT / "conf" / f"{'lm' if kind == 'gru' else kind}.yaml"


@pytest.fixture
def trained(data, tmp_path, monkeypatch):
    def train(kind: str, max_epoch: int = 2) -> Path:
        out = tmp_path / "exp"
        arguments = ["--config", config_of(kind), "--data", data, "--output_dir", out]
        for option in LMS[kind]:
            arguments += ["--lm_conf", option]
        call(train_lm, monkeypatch, *arguments, "--max_epoch", max_epoch)
        return out

    return train


def test_prepare_lm(data):
    tokens = (data / "tokens.txt").read_text().split()
    assert tokens[:2] == ["<blank>", "<unk>"] and tokens[-1] == "<sos/eos>"
    # j (19) is the only token that occurs once, so it stands for the unseen.
    assert "19" not in tokens and str(ord("z") - ord("a") + 10) in tokens
    lines = (data / "train.txt").read_text().splitlines()
    assert lines[-1] == "v 25 21 10 34 9 <unk> 10 35 35"
    assert (data / "train_shape").read_text().splitlines()[-1] == "v 9"
    words = {w for line in lines for w in line.split()[1:]}
    assert words - {"<unk>"} == set(tokens[2:-1])


def test_an_lm_goes_on_where_it_was_interrupted(trained, capsys):
    """Whatever had been saved when it ended."""
    out = trained("gru", max_epoch=1)
    for path in out.glob("*.pth"):
        if path.name != "checkpoint.pth":
            path.unlink()
    trained("gru")
    assert "begins anew" not in capsys.readouterr().err
    whole = torch.load(out / "valid.loss.best.pth")
    os.truncate(out / "checkpoint.pth", 1000)
    trained("gru")
    assert "begins anew" in capsys.readouterr().err
    again = torch.load(out / "valid.loss.best.pth")
    assert all(torch.equal(again[name], value) for name, value in whole.items())


@pytest.mark.parametrize("kind", LMS)
def test_neural_lm_equals_espnet(kind, trained, encoder, capsys):
    from espnet2.tasks.lm import LMTask

    out = trained(kind)
    assert "perplexity" in capsys.readouterr().out
    model, args = LMTask.build_model_from_file(
        out / "config.yaml", out / "valid.loss.best.pth"
    )
    token_list = args.token_list
    lm = NeuralLM(out, VOCAB, BOS, EOS)
    sentences = [encoder("play a jazz song"), encoder("the band plays on")[:16]]
    indices = {t: i for i, t in enumerate(token_list)}
    text = torch.tensor(
        [[indices.get(str(t), indices["<unk>"]) for t in s] for s in sentences]
    )
    nll, _ = model.eval().nll(text, torch.tensor([16, 16]))
    inputs = torch.tensor([[BOS, *s] for s in sentences])
    labels = torch.tensor([[*s, EOS] for s in sentences])
    state, found = lm.initial(2), torch.zeros(2, 17)
    # The rows change places at each step, as hypotheses do.
    order = torch.arange(2)
    for t in range(17):
        log_probs, state = lm.score(inputs[order, t], state)
        assert log_probs.shape == (2, VOCAB)
        found[order, t] = log_probs.gather(1, labels[order, t][:, None])[:, 0]
        state, order = lm.select(state, torch.tensor([1, 0])), order.flip(0)
    unknown = torch.tensor(
        [[str(t) not in indices for t in s] + [False] for s in sentences]
    )
    assert unknown.sum() == 1  # the j of jazz
    torch.testing.assert_close(found, -nll, atol=1e-4, rtol=1e-4)


def test_training_resumes(trained):
    def epochs(out):
        return torch.load(out / "checkpoint.pth")["reporter"]["stats"]

    before = epochs(trained("lm"))
    after = epochs(trained("lm", max_epoch=3))
    assert sorted(before) == [1, 2] and sorted(after) == [1, 2, 3]
    # With the very times in them, so epochs 1 and 2 were not run again.
    assert {n: after[n] for n in before} == before


def test_an_lm_does_not_go_on_with_other_text(trained, data, monkeypatch, tmp_path):
    out, other = trained("lm"), tmp_path / "other"
    shutil.copytree(data, other)
    with open(other / "train.txt", "a") as stream:
        stream.write("zz 5 6 7\n")
    arguments = ["--config", config_of("lm"), "--data", other, "--output_dir", out]
    with pytest.raises(UserError, match="an LM of other text or tokens"):
        call(train_lm, monkeypatch, *arguments)


def test_unknown_key_is_an_error(tmp_path, monkeypatch, data, capsys):
    config = tmp_path / "lm.yaml"
    config.write_text(config_of("lm").read_text() + "max_epochs: 3\n")
    arguments = ["--config", config, "--data", data, "--output_dir", tmp_path / "exp"]
    with pytest.raises(SystemExit):
        call(train_lm, monkeypatch, *arguments)
    assert "max_epochs" in capsys.readouterr().err


def test_the_papers_lm_has_50_million_parameters():
    from espnet2.lm.seq_rnn_lm import SequentialRNNLM

    conf = yaml.safe_load(config_of("tuning/lm_lstm6").read_text())["lm_conf"]
    with torch.device("meta"):
        model = SequentialRNNLM(vocab_size=5000, **conf)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(50, abs=2)


def test_missing_data_and_models(tmp_path, monkeypatch, trained):
    with pytest.raises(UserError, match="prepare_lm"):
        call(train_lm, monkeypatch, "--data", tmp_path, "--output_dir", tmp_path / "e")
    with pytest.raises(UserError, match="no language model"):
        NeuralLM(tmp_path, VOCAB, BOS, EOS)
    with pytest.raises(UserError, match="no such n-gram"):
        NgramLM(tmp_path, VOCAB, BOS, EOS)
    out = trained("lm")
    with pytest.raises(UserError, match="token ids"):
        NeuralLM(out, 20, BOS, EOS)  # a smaller LLM
    checkpoint = (out / "valid.loss.best.pth").resolve()
    stored = torch.load(checkpoint)
    del stored["lm.decoder.bias"]
    torch.save(stored, checkpoint)
    with pytest.raises(UserError, match="lacks decoder.bias"):
        NeuralLM(out, VOCAB, BOS, EOS)


def test_vocabulary_map_gives_unk_to_each_unknown_token():
    mapping = VocabularyMap({5: 2, 7: 3}, 1, 4, vocab_size=10, bos_id=0, eos_id=9)
    assert mapping.encode(torch.tensor([0, 5, 6, 7, 9])).tolist() == [4, 2, 1, 3, 4]
    p = mapping.spread(torch.tensor([[0.0, 0.35, 0.2, 0.15, 0.3]]).log()).exp()
    expected = [0.35] * 10
    expected[5], expected[7], expected[9] = 0.2, 0.15, 0.3
    torch.testing.assert_close(p, torch.tensor([expected]))


@pytest.fixture
def ngram_dir(tmp_path, encoder, monkeypatch):
    text = write_text(tmp_path / "text", 40)
    out = tmp_path / "ngram"
    arguments = ["--text", text, "--out", out, "--estimator", "python"]
    call(train_ngram, monkeypatch, *arguments)
    return out


def test_ngram_scores_equal_kenlm(ngram_dir, encoder):
    lm = NgramLM(ngram_dir, VOCAB, BOS, EOS)
    config = kenlm.Config()
    config.show_progress = False
    model = kenlm.Model(str(ngram_dir / "ngram.arpa"), config)
    texts = ["play the song", "zap the bands"]
    candidates = torch.arange(VOCAB).expand(2, -1)
    unknown = [t != EOS and str(t) not in model for t in range(VOCAB)]
    repeated = torch.tensor(unknown) & (torch.tensor(unknown).cumsum(0) > 1)
    state, totals = lm.initial(2), [0.0, 0.0]
    rows = [[BOS, *encoder(t), EOS] for t in texts]
    for t in range(len(rows[0]) - 1):
        newest = torch.tensor([row[t] for row in rows])
        scores, state = lm.score_partial(newest, candidates, state)
        # The tokens it knows and one <unk> sum to 1: an n-gram has no <blank>.
        total = scores.exp().masked_fill(repeated, 0).sum(1)
        torch.testing.assert_close(total, torch.ones(2), atol=1e-4, rtol=0)
        for i, row in enumerate(rows):
            totals[i] += scores[i, row[t + 1]].item()
        state = lm.select(state, torch.tensor([1, 0]))
        state = lm.select(state, torch.tensor([1, 0]))
    for text, total in zip(texts, totals, strict=True):
        words = [str(t) for t in encoder(text)]
        expected = model.score(" ".join(words)) * math.log(10)
        assert total == pytest.approx(expected, abs=1e-3)
    after = range(VOCAB)
    assert lm.has_met(encoder("the song"), after) and lm.has_met(encoder("song"), after)
    for words in ("song the", "zap"):
        assert not lm.has_met(encoder(words), after)
    # Met, but as the first tokens of a longer word: no token that ends one follows.
    assert not lm.has_met(encoder("the song"), encoder("zap"))
    assert all(str(t) in model for t in encoder(texts[0]))
    assert not all(str(t) in model for t in encoder(texts[1]))


def test_search_with_both(trained, ngram_dir, encoder):
    """Heavy weights make an LLM that knows nothing say what the LMs heard."""
    out = trained("lm")
    model, prefix = tiny_llama(VOCAB, eos=0.0), random_prefix([3, 5])
    scorers = {
        "lm": WeightedScorer(NeuralLM(out, VOCAB, BOS, EOS), 0.5),
        "ngram": WeightedScorer(NgramLM(ngram_dir, VOCAB, BOS, EOS), 4.0),
    }
    results = BeamSearch(model, BOS, EOS, scorers)(prefix, [8, 12])
    known = set(encoder("playthesong abndstopmuicxq")) | {9}
    for row in results:
        assert len(row) == 4
        assert set(row[0].tokens) <= known
        for hypothesis in row:
            assert list(hypothesis.parts) == ["llm", "lm", "ngram"]
            assert hypothesis.score == sum(hypothesis.parts.values())
    # A second search gives the same: no state is left behind.
    assert BeamSearch(model, BOS, EOS, scorers)(prefix, [8, 12]) == results


def test_lmplz_is_asked_for(tmp_path, encoder, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    text = write_text(tmp_path / "text", 4)
    with pytest.raises(UserError, match="not on PATH"):
        call(train_ngram, monkeypatch, "--text", text, "--out", tmp_path,
             "--estimator", "lmplz")  # fmt: skip

import pytest
import torch
from beam_helpers import (
    BOS,
    EOS,
    PartialTableLM,
    TableLM,
    all_texts,
    naive_search,
    random_prefix,
    sequence_log_probs,
    tiny_llama,
)

from spft.prefix import Prefix
from spft.search.beam import BeamSearch, BeamSearchConfig
from spft.search.scorers import WeightedScorer


def hf_generate(model, prefix, beam, max_tokens, **options):
    """Token lists (eos cut off) and scores of transformers' own beam search."""
    embeds, mask = prefix.left_padded()
    bos = model.get_input_embeddings()(torch.full((len(embeds), 1), BOS))
    output = model.generate(
        inputs_embeds=torch.cat([embeds, bos], 1),
        attention_mask=torch.cat([mask, mask.new_ones(len(mask), 1)], 1).long(),
        num_beams=beam,
        num_return_sequences=beam,
        max_new_tokens=max_tokens,
        do_sample=False,
        length_penalty=0.0,
        return_dict_in_generate=True,
        output_scores=True,
        **options,
    )
    texts = []
    for row in output.sequences.tolist():
        texts.append(row[: row.index(EOS)] if EOS in row else row)
    scores = output.sequences_scores if beam > 1 else torch.zeros(len(texts))
    texts = [texts[i : i + beam] for i in range(0, len(texts), beam)]
    return texts, scores.view(-1, beam)


def tokens_of(results):
    return [[h.tokens for h in hypotheses] for hypotheses in results]


@pytest.mark.parametrize("lengths", [[5], [7, 2, 0, 5]])
def test_equals_generate(lengths):
    ended = 0
    for seed in range(6):
        model, prefix = tiny_llama(seed=seed), random_prefix(lengths, seed=seed)
        texts, scores = hf_generate(model, prefix, 4, 12)
        results = BeamSearch(model, BOS, EOS)(prefix, [12] * len(lengths))
        assert tokens_of(results) == texts
        ours = torch.tensor([[h.score for h in row] for row in results])
        torch.testing.assert_close(ours, scores, atol=1e-5, rtol=1e-5)
        ended += sum(not h.truncated for row in results for h in row)
    assert ended > 6  # otherwise the finishing rule was not tested


def test_greedy_equals_generate():
    for seed in range(6):
        model, prefix = tiny_llama(seed=seed), random_prefix([4, 6, 1], seed=seed)
        texts, _ = hf_generate(model, prefix, 1, 10)
        search = BeamSearch(model, BOS, EOS, config=BeamSearchConfig(beam=1))
        assert tokens_of(search(prefix, [10] * 3)) == texts


def test_min_tokens_equals_generate():
    model, prefix = tiny_llama(seed=3), random_prefix([4, 6])
    texts, _ = hf_generate(model, prefix, 4, 9, min_new_tokens=5)
    search = BeamSearch(model, BOS, EOS, config=BeamSearchConfig(min_tokens=5))
    results = search(prefix, [9] * 2)
    assert tokens_of(results) == texts
    assert all(len(h.tokens) >= 5 for row in results for h in row)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_repeat_ngram_equals_generate(size):
    differ = 0
    for seed in range(4):
        model, prefix = tiny_llama(seed=seed), random_prefix([4, 6], seed=seed)
        config = BeamSearchConfig(no_repeat_ngram_size=size, min_tokens=11)  # long ones
        texts, _ = hf_generate(model, prefix, 4, 12, no_repeat_ngram_size=size,
                               min_new_tokens=11)  # fmt: skip
        search = BeamSearch(model, BOS, EOS, config=config)
        assert tokens_of(search(prefix, [12] * 2)) == texts
        free = BeamSearch(model, BOS, EOS, config=BeamSearchConfig(min_tokens=11))
        differ += tokens_of(free(prefix, [12] * 2)) != texts
    assert differ  # otherwise nothing was tested


def test_batch_equals_one_by_one_with_different_limits():
    model, prefix = tiny_llama(), random_prefix([3, 8, 0, 5])
    scorers = {"lm": WeightedScorer(TableLM(37, 5), 0.4)}
    search = BeamSearch(model, BOS, EOS, scorers, BeamSearchConfig(length_bonus=0.3))
    limits = [9, 1, 4, 6]
    together = search(prefix, limits)
    for row, limit in enumerate(limits):
        length = int(prefix.lengths[row])
        alone = Prefix(prefix.embeds[row : row + 1, :length], torch.tensor([length]))
        (expected,) = search(alone, [limit])
        assert tokens_of([together[row]]) == tokens_of([expected])
        assert all(len(h.tokens) + (not h.truncated) <= limit for h in together[row])
    assert any(h.truncated for row in together for h in row)


def test_weight_zero_changes_nothing():
    model, prefix = tiny_llama(), random_prefix([3, 5])
    plain = BeamSearch(model, BOS, EOS)(prefix, [8, 8])
    none = {
        "lm": WeightedScorer(TableLM(37, 5), 0.0),
        "ngram": WeightedScorer(PartialTableLM(37, 6), 0.0),
    }
    assert BeamSearch(model, BOS, EOS, none)(prefix, [8, 8]) == plain
    tiny = {
        "lm": WeightedScorer(TableLM(37, 5), 1e-7),
        "ngram": WeightedScorer(PartialTableLM(37, 6), 1e-7),
    }
    nearly = BeamSearch(model, BOS, EOS, tiny)(prefix, [8, 8])
    assert tokens_of(nearly) == tokens_of(plain)
    some = {"lm": WeightedScorer(TableLM(37, 5), 0.5)}
    fused = BeamSearch(model, BOS, EOS, some)(prefix, [8, 8])
    assert tokens_of(fused) != tokens_of(plain)


@pytest.mark.parametrize("beam", [1, 3])
def test_fusion_equals_naive_search_without_cache(beam):
    vocab, bonus = 37, 0.2
    config = BeamSearchConfig(beam, bonus)
    for seed in range(4):
        model, prefix = tiny_llama(vocab, seed), random_prefix([4, 6, 0], seed=seed)
        lm, ngram = TableLM(vocab, seed), PartialTableLM(vocab, seed + 100)
        scorers = {
            "lm": WeightedScorer(lm, 0.5),
            "ngram": WeightedScorer(ngram, 0.3),
        }
        results = BeamSearch(model, BOS, EOS, scorers, config)(prefix, [7] * 3)

        def fused(tokens, lm=lm, ngram=ngram):
            first, second = [0, BOS, *tokens][-2:]
            tables = 0.5 * lm.table[first, second] + 0.3 * ngram.table[first, second]
            return tables + bonus

        for row, length in enumerate(prefix.lengths.tolist()):
            embeds = prefix.embeds[row, :length]
            expected = naive_search(model, embeds, fused, beam, 7)
            texts = [[t for t in tokens if t != EOS] for tokens, _ in expected]
            assert [h.tokens for h in results[row]] == texts
            ours = [h.score for h in results[row]]
            assert ours == pytest.approx([score for _, score in expected], abs=1e-5)


def test_wide_beam_finds_the_exhaustive_best_and_parts_add_up():
    vocab, limit = 5, 4
    model, prefix = tiny_llama(vocab, seed=2), random_prefix([3])
    lm = TableLM(vocab, 9)
    scorers = {"lm": WeightedScorer(lm, 0.6)}
    config = BeamSearchConfig(beam=400, length_bonus=0.1, pre_beam=800)
    (results,) = BeamSearch(model, BOS, EOS, scorers, config)(prefix, [limit])

    scored = []
    for tokens in all_texts(vocab, limit):
        log_probs = sequence_log_probs(model, prefix.embeds[0], tokens[:-1])
        llm = log_probs.gather(1, torch.tensor(tokens)[:, None]).sum().item()
        parts = {
            "llm": llm,
            "lm": 0.6 * lm.sequence(tokens),
            "length": 0.1 * len(tokens),
        }
        scored.append((sum(parts.values()), tokens, parts))
    scored.sort(reverse=True)
    assert len(results) == len(scored) == 341  # (4 ** 0 + .. + 4 ** 3) + 4 ** 4
    for hypothesis, (score, tokens, parts) in zip(results, scored, strict=True):
        assert hypothesis.tokens == [t for t in tokens if t != EOS]
        assert hypothesis.truncated == (tokens[-1] != EOS)
        assert hypothesis.score == pytest.approx(score, abs=1e-5)
        assert hypothesis.parts == pytest.approx(parts, abs=1e-5)
        assert hypothesis.score == sum(hypothesis.parts.values())


def test_length_bonus_gives_longer_text():
    model, prefix = tiny_llama(seed=1), random_prefix([4, 4, 4])
    lengths = {}
    for bonus in (0.0, 3.0):
        config = BeamSearchConfig(length_bonus=bonus)
        results = BeamSearch(model, BOS, EOS, config=config)(prefix, [10] * 3)
        lengths[bonus] = sum(len(row[0].tokens) for row in results)
    assert lengths[3.0] > lengths[0.0]


def test_eos_is_a_candidate_beyond_the_pre_beam():
    """Only the n-gram wants eos here: the LLM ranks it below the pre-beam."""
    vocab = 37
    model, prefix = tiny_llama(vocab), random_prefix([4])
    with torch.no_grad():
        model.model.norm.weight.zero_()  # all logits 0 ..
        model.lm_head.bias = torch.nn.Parameter(torch.arange(vocab, 0, -1) * 0.01)
        model.lm_head.bias[EOS] = -1  # .. but for eos
    ngram = PartialTableLM(vocab, 0)
    ngram.table[:] = -50.0
    ngram.table[..., EOS] = 0.0
    scorers = {"ngram": WeightedScorer(ngram, 1.0)}
    config = BeamSearchConfig(beam=2, pre_beam=4)
    (results,) = BeamSearch(model, BOS, EOS, scorers, config)(prefix, [5])
    assert results[0].tokens == [] and not results[0].truncated


@pytest.mark.parametrize("options", [{"beam": 0}, {"pre_beam": 7}])
def test_bad_config(options):
    with pytest.raises(ValueError):
        BeamSearchConfig(**options)


def test_bad_limits_and_names():
    model, prefix = tiny_llama(), random_prefix([3, 5])
    for limits in ([4], [4, 0]):
        with pytest.raises(ValueError):
            BeamSearch(model, BOS, EOS)(prefix, limits)
    with pytest.raises(ValueError):
        BeamSearch(model, BOS, EOS, {"llm": WeightedScorer(TableLM(37, 1), 1.0)})

"""Tiny random models and naive searches that the beam search is compared with."""

import itertools
import math

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from spft.prefix import Prefix

BOS, EOS = 1, 2


def tiny_llama(vocab: int = 37, seed: int = 0, eos: float = 3.0) -> LlamaForCausalLM:
    """A random fp32 Llama; ``eos`` is added to eos's logit, so that texts do end."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.5,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        model.lm_head.bias = torch.nn.Parameter(torch.zeros(vocab))
        model.lm_head.bias[EOS] = eos
    return model


def random_prefix(lengths: list[int], width: int = 16, seed: int = 1) -> Prefix:
    generator = torch.Generator().manual_seed(seed)
    embeds = torch.randn(len(lengths), max(lengths), width, generator=generator)
    sizes = torch.tensor(lengths)
    padding = torch.arange(max(lengths)) >= sizes[:, None]
    # Garbage in the padding would show if it were read.
    return Prefix(embeds.masked_fill(padding[..., None], 1e4), sizes)


class TableLM:
    """A scorer whose prediction depends on the two newest tokens: a random table."""

    def __init__(self, vocab: int, seed: int):
        generator = torch.Generator().manual_seed(seed)
        table = 2 * torch.randn(vocab, vocab, vocab, generator=generator)
        self.table = table.log_softmax(-1)

    def initial(self, n: int) -> Tensor:
        return torch.zeros(n, dtype=torch.long)

    def score(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return self.table[state, tokens], tokens

    def select(self, state: Tensor, index: Tensor) -> Tensor:
        return state[index]

    def sequence(self, tokens: list[int]) -> float:
        pairs = zip([0, BOS, *tokens], [BOS, *tokens], tokens, strict=False)
        return sum(self.table[a, b, c].item() for a, b, c in pairs)


class PartialTableLM(TableLM):
    """The same, as a partial scorer."""

    score = None

    def score_partial(self, tokens, candidates, state):
        return self.table[state, tokens].gather(1, candidates), tokens


def sequence_log_probs(model, embeds: Tensor, tokens: list[int]) -> Tensor:
    """``[len(tokens) + 1, V]`` after ``[embeds][bos][tokens]``, without any cache."""
    ids = torch.tensor([[BOS, *tokens]])
    inputs = torch.cat([embeds[None], model.get_input_embeddings()(ids)], 1)
    with torch.no_grad():
        logits = model(inputs_embeds=inputs).logits[0, len(embeds) :]
    return logits.log_softmax(-1)


def naive_search(model, embeds, fused, beam, max_tokens):
    """Plain-list beam search without cache; ``fused(tokens) -> [V]`` extra scores."""
    running, finished = [([], 0.0)], []
    for step in range(1, max_tokens + 1):
        expanded = []
        for tokens, total in running:
            log_probs = sequence_log_probs(model, embeds, tokens)[-1] + fused(tokens)
            expanded += [
                ([*tokens, v], total + p) for v, p in enumerate(log_probs.tolist())
            ]
        best = sorted(expanded, key=lambda item: -item[1])[: 2 * beam]
        running = []
        for rank, (tokens, total) in enumerate(best):
            if tokens[-1] == EOS or step == max_tokens:
                if rank < beam:
                    finished.append((tokens, total))
            elif len(running) < beam:
                running.append((tokens, total))
        finished = sorted(finished, key=lambda item: -item[1])[:beam]
        best_open = running[0][1] if running else -math.inf
        if len(finished) == beam and (best_open <= finished[-1][1]):
            break
    return finished


def all_texts(vocab: int, max_tokens: int):
    """Every token sequence that ends with eos or is ``max_tokens`` long."""
    words = [v for v in range(vocab) if v != EOS]
    for n in range(max_tokens):
        for text in itertools.product(words, repeat=n):
            yield [*text, EOS]
    for text in itertools.product(words, repeat=max_tokens):
        yield list(text)

"""Log-probabilities of whole texts by LLM and external LMs, as a search sums them."""

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from spft.llm import IGNORED, LLM
from spft.prefix import Prefix
from spft.search.scorers import PartialScorer, Scorer


def score_by_llm(
    llm: LLM, prefix: Prefix, tokens: list[list[list[int]]]
) -> list[list[float]]:
    """Log-probability of each text with its eos, in one batch.

    Args:
        llm: the decoder.
        prefix: of B utterances.
        tokens: B lists of texts, any of them empty.
    """
    rows = [torch.tensor(row) for texts in tokens for row in texts]
    if not rows:
        return [[] for _ in tokens]
    owners = [i for i, texts in enumerate(tokens) for _ in texts]
    lengths = torch.tensor([len(row) for row in rows], device=llm.device)
    text = pad_sequence(rows, batch_first=True, padding_value=IGNORED)
    text, owners = text.long().to(llm.device), torch.tensor(owners).to(llm.device)
    with llm.autocast():
        losses = llm(prefix, text, lengths, owners)
    sums = iter(losses.split((lengths + 1).tolist()))
    return [[-next(sums).sum().item() for _ in texts] for texts in tokens]


def score_by_lm(
    scorer: Scorer | PartialScorer,
    tokens: list[list[int]],
    bos: int,
    eos: int,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Log-probability ``[N]`` of each text with its eos by an external LM."""
    steps = max(map(len, tokens)) + 1
    padded = [[*row, *[eos] * (steps - len(row))] for row in tokens]
    wanted = torch.tensor(padded, device=device)
    ends = torch.tensor([len(row) for row in tokens], device=device)
    last = torch.full_like(ends, bos)
    state = scorer.initial(len(tokens))
    total = torch.zeros(len(tokens), device=device)
    for step in range(steps):
        token = wanted[:, step, None]
        if hasattr(scorer, "score_partial"):
            score, state = scorer.score_partial(last, token, state)
        else:
            score, state = scorer.score(last, state)
            score = score.gather(1, token)
        total += score[:, 0].masked_fill(step > ends, 0.0)
        last = token[:, 0]
    return total

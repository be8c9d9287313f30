"""Noisy text in place of audio: how text alone teaches a decoder to follow its prefix.

The noise imitates the errors of the first pass, learnt from its transcripts, or by
rules those of a CTC head. Used to teach the decoder of stage 3 and, in the manner of
arXiv 2601.20900, as an adaptation method.
"""

import functools
import random
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from spft.adapt.abs_adapt import AbsAdapt
from spft.adapt.confusions import Confusions
from spft.llm import LLM
from spft.prefix import Prefix

LETTERS = "abcdefghijklmnopqrstuvwxyz"
# What a letter recogniser confuses: sounds that several spellings share.
CONFUSIONS = {
    "a": "eoui", "b": "pvd", "c": "ksg", "d": "tbg", "e": "aiouy", "f": "vph",
    "g": "jkcd", "h": "wu", "i": "eyau", "j": "gdz", "k": "cgq", "l": "rw",
    "m": "nb", "n": "mng", "o": "aue", "p": "bf", "q": "kc", "r": "lw", "s": "zcx",
    "t": "dkp", "u": "oaei", "v": "fbw", "w": "vuh", "x": "sk", "y": "ie", "z": "sx",
}  # fmt: skip


def corrupt(text: str, rate: float, rng: random.Random) -> str:
    """Return ``text`` with about ``rate`` of its characters misspelt.

    They are dropped, replaced or followed by another. Spaces may vanish and appear, so
    that words join and break apart.
    """
    out = []
    for char in text:
        if rng.random() >= rate:
            out.append(char)
            continue
        kind = rng.random()
        if kind < 0.3:  # dropped
            continue
        if kind < 0.75 and char in CONFUSIONS:
            known = rng.random() < 0.8
            out.append(rng.choice(CONFUSIONS[char] if known else LETTERS))
        elif kind < 0.9:  # inserted
            out.append(char + rng.choice("aeiou" + LETTERS))
        else:
            out.append(char + (" " if char != " " else ""))
    return " ".join("".join(out).split())


class NoisyText(AbsAdapt):
    """The sentence itself, misspelt, through the LLM's own embeddings.

    Args:
        llm: whose tokenizer and embeddings are used.
        max_rate: the noise of a sentence is drawn from 0 to this rate: of characters
            (default .25), or, with ``confusions``, of what the recogniser errs (2).
        confusions: what ``spft.bin.learn_confusions`` wrote; None: noise by rules.
    """

    def __init__(
        self,
        llm: LLM,
        max_rate: float | None = None,
        confusions: str | None = None,
    ):
        super().__init__(llm)
        default = 2.0 if confusions else 0.25
        self.max_rate = default if max_rate is None else max_rate
        self.confusions = confusions

    @functools.cached_property
    def corrupt(self) -> Callable[[str, float, random.Random], str]:
        """What misspells; the table is not needed before, so not for decoding."""
        return Confusions.read(self.confusions).corrupt if self.confusions else corrupt

    def forward(self, text: Tensor, lengths: Tensor, llm: LLM) -> Prefix:
        """Return one row of noisy tokens per sentence."""
        rows = []
        for clean in llm.decode_batch(text, lengths):
            # Validation hears the same noise each time, or luck would choose the epoch.
            # In training ESPnet seeds the draws anew each epoch, a resumed one too.
            rng = random.Random(random.random() if self.training else clean)
            rate = rng.uniform(0, self.max_rate)
            tokens = llm.encode(self.corrupt(clean, rate, rng))
            rows.append(torch.tensor(tokens, dtype=torch.long))
        sizes = torch.tensor([len(row) for row in rows], device=llm.device)
        return Prefix(
            llm.embed(pad_sequence(rows, batch_first=True).to(llm.device)), sizes
        )

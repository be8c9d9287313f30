"""Audio embeddings through letter CTC: as short as text, close to the LLM's own tokens.

A CTC head spells what it hears. Its greedy string, in the LLM's own tokens, gives one
embedding per token, which a language model follows from the first step; a residual from
the frames under each token adds what the 1-best string lost (LegoSLM, arXiv 2505.11352,
has the idea of CTC output through the LLM's embeddings; the residual is ours).

Where the encoder brings a decoder of its own, that one's transcript is the better
string: the LLM then deliberates (arXiv 2003.07962) on a first pass with the audio
beside it; the head aligns its letters with the frames and scores those of the search.
"""

from itertools import pairwise

import jiwer
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from spft.errors import UserError
from spft.llm import LLM
from spft.prefix import Prefix
from spft.projector.abs_projector import AbsProjector

# Without it Adam's first steps, in which all H inputs move together, make the residual
# larger than the embeddings, and the decoder no longer reads the text (seen: the loss
# rose from 0.8 to 4.6 nats a token within 20 updates).
RESIDUAL_SCALE = 0.01
ALPHABET = " 'abcdefghijklmnopqrstuvwxyz"
CLASSES = {letter: i for i, letter in enumerate(ALPHABET, 1)}  # 0 is CTC's blank


class CTCProjector(AbsProjector):
    """Spell with CTC, embed the spelt tokens, add a residual from the frames.

    Args:
        input_size: width F of encoder frames.
        llm: gives tokenizer, embeddings and their width.
        hidden_size: width H of the head.
        layers: residual convolutions of the head, after the one that comes in.
        kernel_size: frames that one of them sees.
        dropout: in the head.
        residual: add the residual; without it the prefix is the string alone.
        first_pass: the string is the first pass's transcript, not the head's own.
        specaug: keyword arguments of ESPnet's ``SpecAug`` on the frames, or None.
    """

    def __init__(
        self,
        input_size: int,
        llm: LLM,
        hidden_size: int = 384,
        layers: int = 2,
        kernel_size: int = 9,
        dropout: float = 0.1,
        residual: bool = True,
        first_pass: bool = False,
        specaug: dict | None = None,
    ):
        super().__init__()
        from espnet2.asr.specaug.specaug import SpecAug

        self.first_pass = first_pass
        self.specaug = SpecAug(**specaug) if specaug else None
        # Without affine: only the corpus' mean and variance of each feature.
        self.normalise = nn.BatchNorm1d(input_size, affine=False, momentum=None)
        self.first = nn.Conv1d(input_size, hidden_size, 5, padding=2)
        self.blocks = nn.ModuleList(
            ResidualConv(hidden_size, kernel_size, dropout) for _ in range(layers)
        )
        self.dropout = nn.Dropout(dropout)
        self.letters = nn.Linear(hidden_size, len(ALPHABET) + 1)
        self.residual = nn.Linear(hidden_size, llm.width) if residual else None
        if residual:
            # At the start the prefix is plain text, which the LLM can read.
            nn.init.zeros_(self.residual.weight)
            nn.init.zeros_(self.residual.bias)

    def forward(
        self,
        frames: Tensor,
        lengths: Tensor,
        llm: LLM,
        texts: list[str] | None = None,
        first_pass: list[str] | None = None,
    ) -> tuple[Prefix, dict[str, Tensor]]:
        """Project; with ``texts`` also return the CTC loss per letter.

        In evaluation the character error rate (``cer``) of the greedy string comes with
        it: on little data it goes on falling when the CTC loss already rises.

        Raises:
            UserError: the first pass is needed and not given.
        """
        hidden = self._hidden(frames, lengths)
        logits = self.letters(hidden)
        spelt = [
            _spans(row[:n]) for row, n in zip(logits.argmax(-1), lengths, strict=True)
        ]
        stats = {}
        if texts is not None:
            stats["ctc"] = _ctc_loss(logits, lengths, texts)
            if not self.training:
                strings = [string for string, _ in spelt]
                cer = jiwer.cer(texts, strings)
                stats["cer"] = torch.tensor(cer, device=logits.device)  # not bfloat16
        if self.first_pass:
            if first_pass is None:
                raise UserError(
                    "this model reads a first pass, and the data has none: make its "
                    "features by spft.bin.extract_features (stage 2)"
                )
            log_probs = logits.detach().float().log_softmax(-1)
            spelt = [
                (string, letter_spans(row[:n], string))
                for row, n, string in zip(log_probs, lengths, first_pass, strict=True)
            ]
        return self._embed(hidden, spelt, llm), stats

    def log_probs(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Log-probabilities ``[B, T, K]`` of blank (0) and the letters of ALPHABET."""
        return self.letters(self._hidden(frames, lengths)).float().log_softmax(-1)

    def _hidden(self, frames: Tensor, lengths: Tensor) -> Tensor:
        valid = torch.arange(frames.shape[1], device=frames.device) < lengths[:, None]
        normal = torch.zeros_like(frames, dtype=torch.float32)
        normal[valid] = self.normalise(frames[valid].float())
        if self.training and self.specaug is not None:
            normal, _ = self.specaug(normal, lengths)
        # Padding must not leak into valid frames: batching may not change results.
        mask = valid[..., None]
        hidden = F.gelu(self.first(normal.transpose(1, 2))).transpose(1, 2) * mask
        for block in self.blocks:
            hidden = block(hidden, mask)
        return self.dropout(hidden)

    def _embed(self, hidden: Tensor, spelt: list, llm: LLM) -> Prefix:
        sums = F.pad(hidden.float().cumsum(1), (0, 0, 1, 0))  # of frames before t
        rows = []
        for i, (string, spans) in enumerate(spelt):
            coded = llm.tokenizer(
                string, add_special_tokens=False, return_offsets_mapping=True
            )
            row = llm.embed(
                torch.tensor(coded["input_ids"], dtype=torch.long, device=hidden.device)
            )
            if self.residual is not None and len(row):
                # A token's frames: from its first letter's start to its last one's end.
                pieces = [(spans[a][0], spans[b - 1][1]) for a, b in _offsets(coded)]
                start, end = torch.tensor(pieces, device=hidden.device).T
                mean = (sums[i, end] - sums[i, start]) / (end - start)[:, None]
                row = row + RESIDUAL_SCALE * self.residual(mean)
            rows.append(row.float())
        sizes = torch.tensor([len(row) for row in rows], device=hidden.device)
        return Prefix(pad_sequence(rows, batch_first=True), sizes)


def letter_spans(log_probs: Tensor, string: str) -> list[tuple[int, int]]:
    """First and last frame (exclusive) of each letter, as CTC aligns them.

    Args:
        log_probs: ``[T, K]`` of one utterance.
        string: letters of ALPHABET; if they are too many for the frames, they are laid
            out evenly.
    """
    from torchaudio.functional import forced_align

    targets = [CLASSES[letter] for letter in string]
    repeats = sum(a == b for a, b in pairwise(targets))
    frames = len(log_probs)
    if not targets or len(targets) + repeats > frames:
        step = frames / max(len(targets), 1)
        starts = [min(int(i * step), frames - 1) for i in range(len(targets))]
        return [(start, max(start + 1, int(start + step))) for start in starts]
    best, _ = forced_align(log_probs[None].cpu(), torch.tensor([targets]), blank=0)
    return _runs(best[0])[1]


class ResidualConv(nn.Module):
    """LayerNorm, convolution, GELU and dropout around a residual path."""

    def __init__(self, size: int, kernel_size: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.conv = nn.Conv1d(size, size, kernel_size, padding=kernel_size // 2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """``[B, T, H]`` to the same, zero where ``mask`` (``[B, T, 1]``) is false."""
        normal = self.norm(hidden) * mask
        change = self.conv(normal.transpose(1, 2)).transpose(1, 2)
        return (hidden + self.dropout(F.gelu(change))) * mask


def _spans(best: Tensor) -> tuple[str, list[tuple[int, int]]]:
    """Greedy string of one utterance's classes ``[T]`` and each letter's frame span."""
    letters = list(zip(*_runs(best), strict=True))
    # One space at most, none at the ends: as in the transcripts.
    kept = [
        (char, span)
        for k, (char, span) in enumerate(letters)
        if char != " " or (0 < k < len(letters) - 1 and letters[k - 1][0] != " ")
    ]
    if kept and kept[-1][0] == " ":
        kept.pop()
    return "".join(char for char, _ in kept), [span for _, span in kept]


def _runs(best: Tensor) -> tuple[list[str], list[tuple[int, int]]]:
    """Letters of a CTC path ``[T]`` and each one's frames."""
    classes, counts = torch.unique_consecutive(best.cpu(), return_counts=True)
    ends = counts.cumsum(0)
    runs = zip(classes.tolist(), (ends - counts).tolist(), ends.tolist(), strict=True)
    kept = [(ALPHABET[c - 1], (start, end)) for c, start, end in runs if c]
    return [letter for letter, _ in kept], [span for _, span in kept]


def _offsets(coded) -> list[tuple[int, int]]:
    # Some tokenizers report empty offsets for a lone word mark; give them one letter.
    return [(a, max(b, a + 1)) for a, b in coded["offset_mapping"]]


def _ctc_loss(logits: Tensor, lengths: Tensor, texts: list[str]) -> Tensor:
    targets = [[CLASSES[letter] for letter in text] for text in texts]
    sizes = torch.tensor([len(target) for target in targets])
    flat = torch.tensor([c for target in targets for c in target])
    log_probs = logits.float().log_softmax(-1).transpose(0, 1)
    # Mean over utterances of the loss per letter; audio too short for its text is left
    # out rather than an infinity that would stop the training.
    return F.ctc_loss(log_probs, flat, lengths.cpu(), sizes, zero_infinity=True)

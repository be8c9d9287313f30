"""Where the speech of a data directory is: cached encoder frames or audio files."""

import functools
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from spft.data.audio import header, read_audio
from spft.data.normalize import normalize
from spft.data.table import read_table
from spft.errors import UserError


@dataclass(frozen=True)
class SpeechSource:
    """The speech of one data directory.

    Attributes:
        path: an scp file.
        kind: ESPnet's name of its type, ``kaldi_ark`` (frames) or ``sound`` (samples).
        lengths: utterance id to frames or samples, in the directory's order.
        first_pass: table of the transcripts by the encoder's own decoder, normalised,
            if any; as it wrote them they stand beside it, in ``first_pass_written``.
        first_pass_scores: utterance to texts, and the log-probability of each by that
            decoder: what was asked so far. The decoder is frozen, so this holds for all
            systems.
    """

    path: Path
    kind: str
    lengths: dict[str, int]
    first_pass: Path | None = None
    first_pass_scores: dict[str, dict[str, float]] = field(
        default_factory=lambda: defaultdict(dict), init=False, repr=False
    )

    def load(self, utterance: str) -> np.ndarray:
        """``[T, F]`` frames or ``[N]`` samples of an utterance."""
        if self.kind == "kaldi_ark":
            return np.array(self._table[utterance])
        return read_audio(self._table[utterance])

    def transcripts(self, utterances: list[str]) -> list[str] | None:
        """First-pass transcripts of utterances; None if there are none."""
        if self.first_pass is None:
            return None
        return [self._transcripts[u] for u in utterances]

    def written(self, utterances: list[str]) -> list[str]:
        """First passes as their decoder wrote them; empty if there are none."""
        if self.first_pass is None:
            return [""] * len(utterances)
        return [self._written[u] for u in utterances]

    @functools.cached_property
    def _table(self):
        import kaldiio

        frames = self.kind == "kaldi_ark"
        return (kaldiio.load_scp if frames else read_table)(str(self.path))

    @functools.cached_property
    def _transcripts(self) -> dict[str, str]:
        return read_table(self.first_pass, allow_empty=True)

    @functools.cached_property
    def _written(self) -> dict[str, str]:
        path = self.first_pass.with_name("first_pass_written")
        if not path.exists():
            raise UserError(f"{path}: not found; run stage 2 again")
        return read_table(path, allow_empty=True)


class Waveforms:
    """Speech in memory, with the interface of :class:`SpeechSource`.

    Args:
        waveforms: id to ``[N]`` samples, 16 kHz, ±1.
        moonshine: the frozen encoder whose frames and first pass the model reads; None
            for a model that reads samples.
    """

    def __init__(self, waveforms: dict[str, np.ndarray], moonshine=None):
        self.speech, self.moonshine = waveforms, moonshine
        if moonshine is not None:
            self.speech = {u: moonshine.encode(wave) for u, wave in waveforms.items()}
        self.lengths = {u: len(array) for u, array in self.speech.items()}
        self.first_pass_scores: dict[str, dict[str, float]] = defaultdict(dict)
        self._written: dict[str, str] = {}

    def load(self, utterance: str) -> np.ndarray:
        """``[T, F]`` frames or ``[N]`` samples of an utterance."""
        return self.speech[utterance]

    def transcripts(self, utterances: list[str]) -> list[str] | None:
        """First-pass transcripts of utterances; None if there are none."""
        if self.moonshine is None:
            return None
        return [normalize(text) for text in self.written(utterances)]

    def written(self, utterances: list[str]) -> list[str]:
        """First passes as their decoder wrote them; empty if there are none."""
        if self.moonshine is None:
            return [""] * len(utterances)
        new = [u for u in utterances if u not in self._written]
        if new:  # search and second pass both ask
            texts = self.moonshine.transcribe([self.speech[u] for u in new])
            self._written |= zip(new, texts, strict=True)
        return [self._written[u] for u in utterances]


def find_speech(folder: Path, dump: Path) -> SpeechSource | None:
    """The speech of ``folder``: frames in ``dump`` if stage 2 made them, else audio.

    Returns None for a text-only directory.
    """
    if not (folder / "wav.scp").exists():
        return None
    frames = dump / folder.name
    if (frames / "feats.scp").exists():
        lengths = read_table(frames / "utt2num_frames")
        if lengths.keys() != read_table(folder / "wav.scp").keys():
            raise UserError(
                f"{frames}: of other utterances than {folder}/wav.scp; run stage 2"
            )
        sizes = {utterance: int(n) for utterance, n in lengths.items()}
        first_pass = frames / "first_pass"
        if not first_pass.exists():
            first_pass = None
        return SpeechSource(frames / "feats.scp", "kaldi_ark", sizes, first_pass)
    paths = read_table(folder / "wav.scp")
    sizes = {utterance: header(path).frames for utterance, path in paths.items()}
    return SpeechSource(folder / "wav.scp", "sound", sizes)

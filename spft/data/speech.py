"""Where the speech of a data directory is: cached encoder frames or audio files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class SpeechSource:
    """The speech of one data directory.

    Attributes:
        path: an scp file.
        kind: ESPnet's name of its type, ``kaldi_ark`` (frames) or ``sound`` (samples).
        lengths: utterance id to frames or samples, in the directory's order.
        first_pass: table of the transcripts by the encoder's own decoder, if any.
    """

    path: Path
    kind: str
    lengths: dict[str, int]
    first_pass: Path | None = None

    def load(self, utterance: str) -> np.ndarray:
        """``[T, F]`` frames or ``[N]`` samples of an utterance."""
        table = self.__dict__.get("_table")
        if table is None:
            import kaldiio

            from spft.data.table import read_table

            frames = self.kind == "kaldi_ark"
            table = (kaldiio.load_scp if frames else read_table)(str(self.path))
            self.__dict__["_table"] = table  # read once; the class is frozen
        if self.kind == "kaldi_ark":
            return np.array(table[utterance])
        from spft.data.audio import read_audio

        return read_audio(table[utterance])

    def transcripts(self, utterances: list[str]) -> list[str] | None:
        """First-pass transcripts of utterances; None if there are none."""
        if self.first_pass is None:
            return None
        from spft.data.table import read_table

        if "_transcripts" not in self.__dict__:
            table = read_table(self.first_pass, allow_empty=True, check_sorted=False)
            self.__dict__["_transcripts"] = table
        return [self.__dict__["_transcripts"][u] for u in utterances]


class Waveforms:
    """Speech in memory, with the interface of :class:`SpeechSource`.

    Args:
        waveforms: id to ``[N]`` samples, 16 kHz, ±1.
        hearing: the frozen encoder whose frames and first pass the model reads; None
            for a model that reads samples.
    """

    def __init__(self, waveforms: dict[str, np.ndarray], hearing=None):
        self.speech, self.hearing = waveforms, hearing
        if hearing is not None:
            self.speech = {u: hearing.encode(wave) for u, wave in waveforms.items()}
        self.lengths = {u: len(array) for u, array in self.speech.items()}
        self._transcripts: dict[str, str] = {}

    def load(self, utterance: str) -> np.ndarray:
        """``[T, F]`` frames or ``[N]`` samples of an utterance."""
        return self.speech[utterance]

    def transcripts(self, utterances: list[str]) -> list[str] | None:
        """First-pass transcripts of utterances; None if there are none."""
        if self.hearing is None:
            return None
        from spft.data.normalize import normalize

        new = [u for u in utterances if u not in self._transcripts]
        if new:  # search and second pass both ask
            texts = self.hearing.transcribe([self.speech[u] for u in new])
            self._transcripts |= zip(new, map(normalize, texts), strict=True)
        return [self._transcripts[u] for u in utterances]


def find_speech(folder: Path, dump: Path) -> SpeechSource | None:
    """The speech of ``folder``: frames in ``dump`` if stage 2 made them, else audio.

    Returns None for a text-only directory.
    """
    from spft.data.table import read_table

    if not (folder / "wav.scp").exists():
        return None
    frames = dump / folder.name
    if (frames / "feats.scp").exists():
        lengths = read_table(frames / "utt2num_frames")
        sizes = {utterance: int(n) for utterance, n in lengths.items()}
        first_pass = frames / "first_pass"
        return SpeechSource(
            *(frames / "feats.scp", "kaldi_ark", sizes),
            first_pass if first_pass.exists() else None,
        )
    import soundfile

    paths = read_table(folder / "wav.scp")
    sizes = {
        utterance: soundfile.info(path).frames for utterance, path in paths.items()
    }
    return SpeechSource(folder / "wav.scp", "sound", sizes)

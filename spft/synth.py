"""Speech synthesis for test audio, and the conditions it is recorded under.

An :class:`Engine` turns text into a clean waveform; :func:`record` turns that into what
a microphone would have heard: silence trimmed, a small room on some utterances, mild
noise, some level. Everything random is drawn from the utterance id.
"""

import functools
import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Protocol

import numpy as np
from num2words import num2words

from spft.data.audio import SAMPLE_RATE
from spft.errors import UserError
from spft.files import atomic_write
from spft.pretrained import resolve

# libsndfile maps 0..1 to 256..6 kb/s a channel; this is about 28 kb/s of mono speech.
OPUS_COMPRESSION = 0.91


class Engine(Protocol):
    """A synthesiser."""

    name: str
    sample_rate: int
    voices: tuple[str, ...]

    def synthesize(self, text: str, voice: str, rate: float) -> np.ndarray:
        """Mono float32 ``[samples]`` in [-1, 1]; ``rate`` 1.0 is the usual speed."""
        ...


# espeak-ng's IPA, diphthongs and affricates tied by "^", in the order to replace, to
# the symbols that Kokoro was trained on: one token for each of these sounds.
COMMON_PHONEMES = {
    "ʔˌn\u0329": "tn",
    "ʔn\u0329": "tn",
    "a^ɪ^ɚ": "Iəɹ",
    "a^ɪ^ə": "Iə",
    "a^ɪ": "I",
    "a^ʊ": "W",
    "e^ɪ": "A",
    "ɔ^ɪ": "Y",
    "o^ʊ": "O",
    "ə^ʊ": "Q",
    "d^ʒ": "ʤ",
    "t^ʃ": "ʧ",
    "ə^l": "ᵊl",
    "ɚ": "əɹ",
    "ʲ": "j",
    "r": "ɹ",
    "x": "k",
    "ɬ": "l",
    "ɐ": "ə",
    "ʔ": "t",
}
US_PHONEMES = {"ɜːɹ": "ɜɹ", "ɜː": "ɜɹ", "ɪ^ə": "iə", "ɾ": "T", "ː": ""}
GB_PHONEMES = {"e^ə": "ɛː", "i^ə": "ɪə", "ɪ^ə": "ɪə"}


def to_kokoro(ipa: str, british: bool) -> str:
    """Map espeak-ng's tied IPA to Kokoro's phoneme symbols."""
    text = " ".join(ipa.split())
    for table in (COMMON_PHONEMES, GB_PHONEMES if british else US_PHONEMES):
        for old, new in table.items():
            text = text.replace(old, new)
    text = re.sub("(\\S)\u0329", r"ᵊ\1", text)  # syllabic consonants
    return re.sub("[\u0303\u0329^]", "", text)


def find_espeak() -> str:
    """Path of espeak-ng; UserError if it is not there."""
    if espeak := shutil.which("espeak-ng"):
        return espeak
    raise UserError(
        "espeak-ng is not on PATH; install it (Debian: apt-get install espeak-ng)"
    )


# espeak-ng reads "roman two" for them. IV may be a number, too, but more texts have it
# for a drip.
UNITS = ("", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix")
ROMAN = {10 * t + u: "x" * t + UNITS[u] for t in range(4) for u in range(10)}
ROMAN = {word: num2words(n) for n, word in ROMAN.items() if len(word) > 1}
ROMAN["iv"] = "i.v."


def phonemize(text: str, british: bool) -> str:
    """Kokoro's phonemes of English ``text``, by espeak-ng."""
    text = re.sub(r"\b[ivx]+\b", lambda m: ROMAN.get(m[0], m[0]), text)
    voice = "en-gb" if british else "en-us"
    command = [find_espeak(), "-q", "--ipa", "--tie=^", "-v", voice]
    done = subprocess.run(
        [*command, "--stdin"], input=text, capture_output=True, text=True, check=True
    )
    return to_kokoro(done.stdout, british)


class KokoroEngine:
    """Kokoro-82M through onnxruntime, 28 voices of American and British English."""

    name = "kokoro-82m-int8/2"  # of audio that is kept; 2: Roman numbers
    sample_rate = 24000

    def __init__(self, model: str | Path = "kokoro", threads: int = 1):
        find_espeak()
        self.folder = Path(resolve(model))
        self.threads = threads
        found = sorted(p.stem for p in (self.folder / "voices").glob("*.bin"))
        self.voices = tuple(found)
        if not found:
            raise UserError(f"{model}: no voices/*.bin; use the short name kokoro")

    def __reduce__(self):  # the session cannot travel to another process
        return KokoroEngine, (self.folder, self.threads)

    @functools.cached_property
    def _session(self):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(
            self.folder / "model.onnx", options, providers=["CPUExecutionProvider"]
        )

    @functools.cached_property
    def _vocabulary(self) -> dict[str, int]:
        return json.loads((self.folder / "vocab.json").read_text("utf-8"))["vocab"]

    def synthesize(self, text: str, voice: str, rate: float) -> np.ndarray:
        # With the full stop the sentence ends in a fall, not cut off in the middle.
        phonemes = phonemize(text, british=voice.startswith("b")) + "."
        tokens = [self._vocabulary[p] for p in phonemes if p in self._vocabulary]
        style = np.fromfile(self.folder / "voices" / f"{voice}.bin", np.float32)
        style = style.reshape(-1, 256)
        if len(tokens) > len(style):
            raise UserError(
                f"'{text[:40]}…' has {len(tokens)} phonemes, Kokoro takes at most "
                f"{len(style)}; split the sentence"
            )
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": style[len(tokens) - 1][None],
            "speed": np.array([rate], np.float32),
        }
        return self._session.run(None, inputs)[0].reshape(-1)


class FliteEngine:
    """flite: far less natural than Kokoro, and a hundred times faster.

    For training data that must hold many words. Each of its speakers comes with vocal
    tracts of five lengths (``slt-2`` to ``slt+2``): what is spoken is resampled.
    """

    name = "flite"
    sample_rate = SAMPLE_RATE
    tracts = {"-2": 0.88, "-1": 0.94, "": 1.0, "+1": 1.07, "+2": 1.14}
    voices = tuple(map("".join, product(("awb", "rms", "slt"), tracts)))

    def __init__(self):
        if not shutil.which("flite"):
            raise UserError("flite is not on PATH; install it (apt-get install flite)")

    def synthesize(self, text: str, voice: str, rate: float) -> np.ndarray:
        import soundfile
        import soxr

        speaker, pitch = voice[:3], self.tracts[voice[3:]]
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            stretch = f"duration_stretch={pitch / rate}"
            command = ["flite", "-voice", speaker, "--setf", stretch]
            subprocess.run(
                [*command, "-t", text, "-o", file.name], check=True, capture_output=True
            )
            wave, sample_rate = soundfile.read(file.name, dtype="float32")
        return soxr.resample(wave, sample_rate * pitch, self.sample_rate)


@dataclass(frozen=True)
class Conditions:
    """How an utterance is recorded; each value is drawn anew per utterance.

    Attributes:
        snr: range of the signal-to-noise ratio in dB, speech against background.
        room: share of the utterances that get a small room.
        reverb: range of the room's reverberation time (to -60 dB) in seconds.
        peak: range of the peak level in dB of full scale.
        margin: silence left at both ends in seconds.
    """

    snr: tuple[float, float] = (15.0, 30.0)
    room: float = 0.5
    reverb: tuple[float, float] = (0.1, 0.3)
    peak: tuple[float, float] = (-12.0, -1.5)
    margin: float = 0.1


def record(
    wave: np.ndarray, sample_rate: int, utterance: str, conditions: Conditions
) -> np.ndarray:
    """Return the clean ``wave [samples]`` as recorded, float32 at 16 kHz.

    Raises:
        ValueError: the waveform is silent.
    """
    import soxr

    rng = np.random.default_rng(int(digest(utterance), 16))
    wave = soxr.resample(wave.astype(np.float32), sample_rate, SAMPLE_RATE)
    wave = _trim(wave, int(conditions.margin * SAMPLE_RATE))
    if rng.random() < conditions.room:
        wave = _reverberate(wave, rng.uniform(*conditions.reverb), rng)
    speech_level = np.sqrt(np.mean(np.square(wave)))
    noise = _noise(len(wave), rng) * speech_level
    wave = wave + noise * 10 ** (-rng.uniform(*conditions.snr) / 20)
    peak = 10 ** (rng.uniform(*conditions.peak) / 20)
    return (wave / np.abs(wave).max() * peak).astype(np.float32)


def digest(*parts: object) -> str:
    """16 hexadecimal digits that stand for ``parts``."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def write_opus(path: Path, wave: np.ndarray) -> None:
    """Write mono 16 kHz ``wave [samples]`` as Opus in an Ogg file of about 28 kb/s."""
    import soundfile

    with atomic_write(path, "wb") as stream:
        soundfile.write(
            stream,
            wave,
            SAMPLE_RATE,
            format="OGG",
            subtype="OPUS",
            compression_level=OPUS_COMPRESSION,
        )


def _trim(wave: np.ndarray, margin: int) -> np.ndarray:
    """Cut silence at both ends, 40 dB below the peak, to ``margin`` samples."""
    loud = np.flatnonzero(np.abs(wave) > 0.01 * np.abs(wave).max())
    if not len(loud):
        raise ValueError("silent waveform")
    padded = np.pad(wave, margin)
    return padded[loud[0] : loud[-1] + 1 + 2 * margin]


def _reverberate(wave: np.ndarray, time: float, rng: np.random.Generator) -> np.ndarray:
    """Convolve with a direct path and an exponentially decaying diffuse tail."""
    from scipy.signal import fftconvolve

    seconds = np.arange(int(time * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(len(seconds)) * 10 ** (-3 * seconds / time)
    tail[: int(0.003 * SAMPLE_RATE)] = 0.0  # nothing is closer than half a metre
    tail *= 10 ** (-rng.uniform(3, 10) / 20) / np.sqrt(np.sum(np.square(tail)))
    tail[0] = 1.0
    return fftconvolve(wave, tail)[: len(wave)]


def _noise(length: int, rng: np.random.Generator) -> np.ndarray:
    """``length`` samples of unit power between white and brown, as rooms hum."""
    frequency = np.fft.rfftfreq(length, 1 / SAMPLE_RATE).clip(min=50)
    spectrum = np.fft.rfft(rng.standard_normal(length))
    noise = np.fft.irfft(spectrum * frequency ** -rng.uniform(0, 1), length)
    return noise / np.sqrt(np.mean(np.square(noise)))

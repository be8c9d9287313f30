"""Reading audio: any rate, channels and common format to 16 kHz mono float32."""

import logging
import os
from pathlib import Path

import numpy as np

from spft.errors import UserError

SAMPLE_RATE = 16000
MIN_SECONDS = 0.1
LONG_SECONDS = 30  # encoders hear less of what is longer; transcribe cuts at 20
_log = logging.getLogger(__name__)
_said: set[str] = set()


def _say_once(what: str, path: str | Path) -> None:
    if what not in _said:
        _said.add(what)
        _log.warning("%s, first seen in %s; said once", what, path)


def _is_cut(file: Path) -> bool:
    """Whether the end of a WAV or OGG file is missing, which libsndfile passes over."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(12)
        if head[:4] == b"RIFF":
            # Not the length of all, in which some programs count the header, too.
            while (chunk := stream.read(8))[:4] != b"data":
                if len(chunk) < 8:
                    return True
                length = int.from_bytes(chunk[4:], "little")
                stream.seek(length + length % 2, os.SEEK_CUR)
            declared = int.from_bytes(chunk[4:], "little")
            # Streams of unknown length say 0 or one of the largest numbers.
            return 0 < declared < 0x7FFFF000 and stream.tell() + declared > size
        if head[:4] == b"OggS":
            stream.seek(max(0, size - 65307))  # the longest page
            tail = stream.read()
            page = tail[tail.rfind(b"OggS") :]
            # Header: 5 flags (4: last page), 26 number of segments, then their lengths.
            segments = page[26] if len(page) > 26 else 0
            length = 27 + segments + sum(page[27 : 27 + segments])
            return len(page) < max(length, 27) or not page[5] & 4
    return False


def read_audio(path: str | Path, *, where: str | None = None) -> np.ndarray:
    """Read FLAC, MP3, WAV or OGG (Vorbis, Opus) as float32 ``[N]``, 16 kHz, mono.

    Args:
        path: the audio file.
        where: ``file:line`` that named it, put before the message of an error.

    Raises:
        UserError: file missing, empty, unreadable or truncated, shorter than 0.1 s,
            digital silence, or samples that are not finite.
    """
    import soundfile

    place = f"{where}: {path}" if where else str(path)
    file = Path(path)
    if not file.is_file():
        raise UserError(f"{place}: no such audio file; mend the path")
    if file.stat().st_size == 0:
        raise UserError(f"{place}: empty audio file; fetch it again or remove it")
    try:
        cut = _is_cut(file)
    except OSError as error:
        raise UserError(f"{place}: unreadable ({error.strerror})") from None
    if cut:
        raise UserError(f"{place}: truncated audio; fetch it again")
    try:
        with soundfile.SoundFile(file) as sound:
            promised, rate, channels = sound.frames, sound.samplerate, sound.channels
            samples = sound.read(dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
        raise UserError(
            f"{place}: unreadable or truncated audio ({error}); fetch it again or "
            "convert it to 16 kHz FLAC"
        ) from None
    # Headers of MP3 may be estimates, the others' are exact.
    slack = 0.05 if file.suffix.lower() == ".mp3" else 0
    if len(samples) < (1 - slack) * promised:
        raise UserError(
            f"{place}: truncated audio, {len(samples)} of {promised} samples; fetch it "
            "again"
        )
    if channels > 1:
        _say_once(f"averaging {channels} channels", path)
    return to_16khz(samples.mean(axis=1), rate, place)


def to_16khz(mono: np.ndarray, rate: int, place: str) -> np.ndarray:
    """Samples ``[N]`` at 16 kHz, of samples ``[M]`` at ``rate`` Hz.

    Args:
        mono: samples, ±1.
        rate: in Hz.
        place: where they come from, for messages.

    Raises:
        UserError: shorter than 0.1 s, digital silence, or not finite.
    """
    if not np.isfinite(mono).all():
        raise UserError(f"{place}: samples that are not finite; convert it again")
    if len(mono) < MIN_SECONDS * rate:
        raise UserError(
            f"{place}: non-speech: {len(mono) / rate:.3f} s is too short (at least "
            f"{MIN_SECONDS} s); remove it"
        )
    if not mono.any():
        raise UserError(f"{place}: non-speech: digital silence; remove it")
    if rate != SAMPLE_RATE:
        import soxr

        _say_once(f"resampling {rate} Hz to {SAMPLE_RATE} Hz", place)
        mono = soxr.resample(mono, rate, SAMPLE_RATE)
    return np.ascontiguousarray(mono, dtype=np.float32)


def duration(path: str | Path) -> float:
    """Length in seconds from the file's header, without decoding it."""
    return header(path).duration


def header(path: str | Path):
    """``samplerate``, ``channels``, ``frames`` and ``duration`` of a file.

    Raises:
        UserError: it is not there, or no audio.
    """
    import soundfile

    try:
        return soundfile.info(str(path))
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
        raise UserError(f"{path}: unreadable audio ({error}); fetch it again") from None

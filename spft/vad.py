"""Long recordings cut where nobody speaks (Silero VAD)."""

import numpy as np

from spft.data.audio import SAMPLE_RATE


def split(waveform: np.ndarray, longest: float) -> list[tuple[int, int]]:
    """Stretches of speech in ``waveform``: first sample and the one after the last.

    Neighbours are put together as long as they span at most ``longest`` seconds, for a
    recogniser does better with a sentence than with a word. None if nobody speaks.

    Args:
        waveform: ``[N]``, 16 kHz, ±1.
        longest: seconds; longer speech is cut at its best pause.
    """
    import torch

    threads = torch.get_num_threads()
    from silero_vad import get_speech_timestamps, load_silero_vad

    torch.set_num_threads(threads)  # its import sets one, for all that comes after
    stretches = get_speech_timestamps(
        torch.from_numpy(waveform),
        load_silero_vad(),
        sampling_rate=SAMPLE_RATE,
        max_speech_duration_s=longest,
        speech_pad_ms=200,
    )
    merged: list[tuple[int, int]] = []
    for stretch in stretches:
        start, end = stretch["start"], stretch["end"]
        if merged and end - merged[-1][0] <= longest * SAMPLE_RATE:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged

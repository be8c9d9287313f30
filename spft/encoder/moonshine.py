"""Moonshine base's encoder (frozen, ONNX Runtime), run once per utterance."""

from pathlib import Path

import numpy as np


class MoonshineEncoder:
    """Turn a 16 kHz waveform into encoder frames.

    Args:
        path: folder with ``encoder_model.ort``, or that file itself.
        threads: threads of ONNX Runtime.
    """

    output_size = 416
    frames_per_second = 41.5

    def __init__(self, path: str | Path, threads: int = 1):
        import onnxruntime

        path = Path(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(
            str(path / "encoder_model.ort" if path.is_dir() else path),
            options,
            providers=["CPUExecutionProvider"],
        )
        self.input_name = self.session.get_inputs()[0].name

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        """Encode ``waveform`` (``[N]``, float32 in ±1, 16 kHz) into ``[T, 416]``."""
        batch = np.asarray(waveform, dtype=np.float32)[None]
        return self.session.run(None, {self.input_name: batch})[0][0]

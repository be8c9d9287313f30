"""Readers of corpora in their official layouts, one module each."""

from spft.data.utterance import Utterance

__all__ = ["Utterance"]

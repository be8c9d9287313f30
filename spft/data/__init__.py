"""Corpora, Kaldi data directories, text normalisation, audio and leak checks."""

"""Beam search and the language models fused into it."""

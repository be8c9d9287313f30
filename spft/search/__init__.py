"""Beam search, the LMs fused into it, the second pass, and decodes on disk."""

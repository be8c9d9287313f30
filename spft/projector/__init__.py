"""Projectors: from encoder frames to the LLM's audio embeddings."""

"""Readers of corpora in their official layouts, one module each."""

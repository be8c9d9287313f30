"""Scoring: word alignment, word and entity error rates, significance, reports."""

"""Text-only domain adaptation of LLM-based speech recognition with soft prompts."""

__version__ = "0.1.0"

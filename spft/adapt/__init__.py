"""Text-adaptation methods: what stands before domain text in place of audio."""

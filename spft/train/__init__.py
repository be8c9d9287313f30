"""Training: the ESPnet task, its trainer, and what a stage is made of."""

"""Training: samples and their augmentation, the training loop, checkpoints, and one file per model."""

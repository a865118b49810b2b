"""What the three training stages share: samples, optimizer, loop, checkpoints."""

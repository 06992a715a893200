"""What lets a training end at any moment and go on as if it had not: segments, state, checkpoints, signals."""

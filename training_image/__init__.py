"""The training image: train_rl.py, validate_rl.py, and the trainer that they are made of."""

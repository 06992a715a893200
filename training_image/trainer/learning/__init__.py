"""The algorithms, their hyperparameters, and the logs that they can learn from."""

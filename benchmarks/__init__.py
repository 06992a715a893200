"""What the trainer costs, measured: `python -m benchmarks`, or `python -m benchmarks peers` for one part.

process      100,000 steps of PPO on CartPole-v1 as whole processes, beside the usual first program and other libraries
quality      the return at the end of such a training, on fresh seeds
solving      time to a policy that balances nearly always, on fresh seeds
features     what checkpoints, metrics and evaluations add to a training
buffer       checkpoints of a replay buffer of a million transitions
kills        a training killed at random moments, beside one that never was

Every part writes results/<part>.json, with each run and the command that made it, and prints a table.
"""

from training_image.trainer import threads  # noqa: F401 - before numpy and torch

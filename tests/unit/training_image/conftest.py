"""What the trainer's tests start from."""

import pytest

from training_image.trainer import threads  # noqa: F401 - before numpy and torch, as the scripts do


def pytest_configure(config: pytest.Config) -> None:
    """The small trainings use CartPole-v0 for its short episodes; Gymnasium warns that it is old."""
    config.addinivalue_line("filterwarnings", "ignore:.*CartPole-v0 is out of date:DeprecationWarning")

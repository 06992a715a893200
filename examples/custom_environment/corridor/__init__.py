"""A corridor: walk to its end in as few steps as possible, against a draught that sometimes blows one back."""

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

Observation = npt.NDArray[np.float32]


def register() -> None:
    """Tell Gymnasium of the environment; called through the entry point `gymnasium.envs` in pyproject.toml."""
    gymnasium.register(id="Corridor-v0", entry_point="corridor:Corridor", max_episode_steps=100, reward_threshold=-15)


class Corridor(gymnasium.Env[Observation, np.int64]):
    """`length` steps from the start to the end; each costs 1. The observation is how far one has come, from 0 to 1."""

    metadata = {"render_modes": []}  # noqa: RUF012 - what Gymnasium calls for

    def __init__(self, length: int = 10, draught: float = 0.1) -> None:
        """`draught` is the probability of being blown one step back instead."""
        self.observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)
        self.action_space = spaces.Discrete(2)
        self._length = length
        self._draught = draught
        self._position = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)  # every random number comes from self.np_random, which this seeds
        self._position = 0
        return self._observation(), {}

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        ahead = action == 1 and self.np_random.random() >= self._draught
        self._position = max(0, self._position + (1 if ahead else -1))
        return self._observation(), -1.0, self._position >= self._length, False, {}

    def _observation(self) -> Observation:
        return np.array([min(1.0, self._position / self._length)], dtype=np.float32)

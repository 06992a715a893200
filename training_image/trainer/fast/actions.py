"""What the actor's scores mean: the logits of Discrete actions, or the means of Box ones.

Scores are `[scores, batch]`: numpy adds up and compares rows faster than columns. Both kinds draw from noise that is
given, so that a whole rollout's is made by one call.
"""

import math
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from training_image.trainer.fast.adam import Floats
from training_image.trainer.fast.network import Network

_LOG_2_PI = math.log(2 * math.pi)


class Actions(Protocol):
    """Draws actions, and knows how a loss changes with the scores they came from."""

    def noise(self, steps: int, copies: int) -> Floats:
        """Noise for a rollout, from numpy's global generator, which Stable-Baselines3 seeds."""
        ...

    def draw(self, scores: Floats, noise: Floats) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Actions for the environment, and as `log_probs` and the rollout buffer take them: `[batch]` or
        `[batch, numbers]`."""
        ...

    def best(self, scores: Floats) -> npt.NDArray[Any]:
        """The most likely actions, for the environment."""
        ...

    def kept(self, actions: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The rollout buffer's actions `[samples, numbers]` as `log_probs` takes them."""
        ...

    def log_probs(self, scores: Floats, actions: npt.NDArray[Any]) -> Floats:
        """Log-probabilities of actions; `gradient` and `entropy` are about the last ones asked for."""
        ...

    def gradient(self, d_log_probs: Floats, d_entropy: float) -> Floats:
        """The loss's gradient by the scores, given that by the log-probabilities and by each sample's entropy."""
        ...

    def entropy(self) -> float:
        """Mean entropy of the distributions."""
        ...


class Discrete:
    """One of n actions; the scores are logits."""

    def __init__(self, network: Network) -> None:
        self._choices = network.score_count

    def noise(self, steps: int, copies: int) -> Floats:
        # The highest of logits with this noise is drawn from their softmax: Gumbel (1954), Maddison et al. (2014).
        return np.random.gumbel(size=(steps, self._choices, copies)).astype(np.float32)

    def draw(self, scores: Floats, noise: Floats) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        actions = self.best(scores + noise)
        return actions, actions

    def best(self, scores: Floats) -> npt.NDArray[Any]:
        if len(scores) == 2:
            return np.asarray(scores[1] > scores[0], np.int64)
        return np.asarray(scores.argmax(axis=0))

    def kept(self, actions: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return actions[:, 0].astype(np.int64)

    def log_probs(self, scores: Floats, actions: npt.NDArray[Any]) -> Floats:
        self._chosen = actions, np.arange(len(actions))
        shifted = scores - scores.max(axis=0)
        exponentials = np.exp(shifted)
        sums = exponentials.sum(axis=0)
        self._log_p, self._p = shifted - np.log(sums), exponentials / sums
        return np.asarray(self._log_p[self._chosen])

    def gradient(self, d_log_probs: Floats, d_entropy: float) -> Floats:
        d_scores: Floats = self._p * -d_log_probs
        d_scores[self._chosen] += d_log_probs
        if d_entropy:
            entropies = -(self._p * self._log_p).sum(axis=0)
            d_scores -= np.float32(d_entropy) * self._p * (self._log_p + entropies)
        return d_scores

    def entropy(self) -> float:
        return -float(np.vdot(self._p, self._log_p)) / len(self._p[0])


class Box:
    """Numbers from normal distributions whose deviation does not depend on the observation; the scores are means."""

    def __init__(self, space: spaces.Box, network: Network) -> None:
        log_std, gradient = network.weights.log_std, network.gradients.log_std
        assert log_std is not None
        assert gradient is not None
        self._space = space
        self._log_std, self._gradient = log_std, gradient

    def noise(self, steps: int, copies: int) -> Floats:
        return np.random.standard_normal((steps, len(self._log_std), copies)).astype(np.float32)

    def draw(self, scores: Floats, noise: Floats) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        actions = np.asarray(scores + np.exp(self._log_std)[:, None] * noise, np.float32)
        return self.best(actions), actions.T

    def best(self, scores: Floats) -> npt.NDArray[Any]:
        return np.clip(scores.T.reshape(-1, *self._space.shape), self._space.low, self._space.high)

    def kept(self, actions: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return actions

    def log_probs(self, scores: Floats, actions: npt.NDArray[Any]) -> Floats:
        self._precision = np.exp(-self._log_std)[:, None]
        self._normal = (actions.T - scores) * self._precision
        constant = float(self._log_std.sum()) + 0.5 * _LOG_2_PI * len(self._log_std)
        return np.asarray(-0.5 * (self._normal * self._normal).sum(axis=0) - np.float32(constant))

    def gradient(self, d_log_probs: Floats, d_entropy: float) -> Floats:
        self._gradient[:] = (self._normal * self._normal - 1) @ d_log_probs
        self._gradient += np.float32(d_entropy * len(d_log_probs))
        return np.asarray(self._normal * (d_log_probs * self._precision))

    def entropy(self) -> float:
        return float(self._log_std.sum()) + 0.5 * (1 + _LOG_2_PI) * len(self._log_std)


def actions_of(space: spaces.Space[Any], network: Network) -> Actions:
    """How a network acts in a space that `unsupported` has nothing against."""
    return Box(space, network) if isinstance(space, spaces.Box) else Discrete(network)

"""What the actor's scores mean: the probabilities of Discrete actions, or the means of Box ones.

Both draw from noise that is given, so that a whole rollout's is made by one call.
"""

import math
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from training_image.trainer.fast.network import Floats, Network

_LOG_2_PI = math.log(2 * math.pi)


class Actions(Protocol):
    """Draws actions, and knows how a loss changes with the scores they came from."""

    def noise(self, steps: int, copies: int) -> Floats:
        """Noise for a rollout, from numpy's global generator, which Stable-Baselines3 seeds."""
        ...

    def draw(self, scores: Floats, noise: Floats) -> tuple[npt.NDArray[Any], Floats, Floats]:
        """Actions for the environment, the same as the rollout buffer keeps them, and their log-probabilities."""
        ...

    def best(self, scores: Floats) -> npt.NDArray[Any]:
        """The most likely actions, for the environment."""
        ...

    def kept(self, actions: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The rollout buffer's actions `[samples, numbers]` as `log_probs` wants them."""
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

    def noise(self, steps: int, copies: int) -> Floats:
        return np.random.random((steps, copies)).astype(np.float32)

    def draw(self, scores: Floats, noise: Floats) -> tuple[npt.NDArray[Any], Floats, Floats]:
        log_p, p = _log_softmax(scores)
        if p.shape[1] == 2:
            actions = (noise >= p[:, 0]).astype(np.int64)
        else:
            actions = np.minimum((noise[:, None] >= p.cumsum(axis=1)).sum(axis=1), p.shape[1] - 1)
        return actions, actions[:, None].astype(np.float32), log_p[np.arange(len(actions)), actions]

    def best(self, scores: Floats) -> npt.NDArray[Any]:
        return np.asarray(scores.argmax(axis=1))

    def kept(self, actions: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return actions[:, 0].astype(np.int64)

    def log_probs(self, scores: Floats, actions: npt.NDArray[Any]) -> Floats:
        self._chosen = np.arange(len(actions)), actions
        self._log_p, self._p = _log_softmax(scores)
        return np.asarray(self._log_p[self._chosen])

    def gradient(self, d_log_probs: Floats, d_entropy: float) -> Floats:
        d_scores = self._p * -d_log_probs[:, None]
        d_scores[self._chosen] += d_log_probs
        if d_entropy:
            entropies = -(self._p * self._log_p).sum(axis=1)
            d_scores -= np.float32(d_entropy) * self._p * (self._log_p + entropies[:, None])
        return d_scores

    def entropy(self) -> float:
        return -float(np.vdot(self._p, self._log_p)) / len(self._p)


class Box:
    """Numbers from normal distributions whose deviation does not depend on the observation; the scores are means."""

    def __init__(self, space: spaces.Box, network: Network) -> None:
        log_std, gradient = network.weights.log_std, network.gradients.log_std
        assert log_std is not None
        assert gradient is not None
        self._space = space
        self._log_std, self._gradient = log_std, gradient

    def noise(self, steps: int, copies: int) -> Floats:
        return np.random.standard_normal((steps, copies, len(self._log_std))).astype(np.float32)

    def draw(self, scores: Floats, noise: Floats) -> tuple[npt.NDArray[Any], Floats, Floats]:
        actions = np.asarray(scores + np.exp(self._log_std) * noise, np.float32)
        return self.best(actions), actions, self._of_normal(noise)

    def best(self, scores: Floats) -> npt.NDArray[Any]:
        return np.clip(scores.reshape(-1, *self._space.shape), self._space.low, self._space.high)

    def kept(self, actions: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return actions

    def log_probs(self, scores: Floats, actions: npt.NDArray[Any]) -> Floats:
        self._precision = np.exp(-self._log_std)
        self._normal = (actions - scores) * self._precision
        return self._of_normal(self._normal)

    def gradient(self, d_log_probs: Floats, d_entropy: float) -> Floats:
        self._gradient[:] = d_log_probs @ (self._normal * self._normal - 1)
        self._gradient += np.float32(d_entropy * len(d_log_probs))
        return np.asarray(self._normal * (d_log_probs[:, None] * self._precision))

    def entropy(self) -> float:
        return float(self._log_std.sum()) + 0.5 * (1 + _LOG_2_PI) * len(self._log_std)

    def _of_normal(self, normal: Floats) -> Floats:
        constant = float(self._log_std.sum()) + 0.5 * _LOG_2_PI * len(self._log_std)
        return np.asarray(-0.5 * (normal * normal).sum(axis=1) - np.float32(constant))


def actions_of(space: spaces.Space[Any], network: Network) -> Actions:
    """How a network acts in a space that `unsupported` has nothing against."""
    return Box(space, network) if isinstance(space, spaces.Box) else Discrete()


def _log_softmax(scores: Floats) -> tuple[Floats, Floats]:
    """Log-probabilities and probabilities of logits."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    sums = exponentials.sum(axis=1, keepdims=True)
    return shifted - np.log(sums), exponentials / sums

"""The trained policy as one torch module, from an observation of the environment to the action it is given.

Normalisation, the choice of the best action, and clipping to the action space are inside, so whoever runs the module
needs nothing else. This module is what is evaluated, and what is exported to ONNX.
"""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

from training_image.trainer import observations as batches
from training_image.trainer.heads import head_of
from training_image.trainer.images import have_colours_last
from training_image.trainer.observations import Batch, Tensors
from training_image.trainer.state import statistics_name


class PolicyGraph(torch.nn.Module):
    """Deterministic actions of shape `[batch, *action_shape]` for observations of shape `[batch, *shape]`, or for a
    dictionary of such where the environment's observations are a Dict."""

    low: Tensor
    high: Tensor

    memory = 0
    """Numbers that it remembers."""
    choices = 0
    """Length of the mask that it takes."""

    def __init__(
        self, policy: BasePolicy, normaliser: dict[str, Tensor] | None, observation_space: spaces.Space[Any]
    ) -> None:
        """`normaliser` holds what `state.capture_normaliser` captured; `observation_space` is the environment's."""
        super().__init__()
        self._policy = policy.eval()
        self._head = head_of(policy)
        self._space = policy.action_space
        parts = batches.parts(observation_space)
        self._keys = list(parts)
        self._prepare = torch.nn.ModuleList(_Preparation(space, normaliser or {}, key) for key, space in parts.items())
        if isinstance(self._space, spaces.Box):
            self.register_buffer("low", torch.as_tensor(self._space.low, dtype=torch.float32))
            self.register_buffer("high", torch.as_tensor(self._space.high, dtype=torch.float32))

    def forward(self, observation: Tensors) -> Tensor:
        """The actions."""
        return self.decide(self.scores(observation))

    def scores(self, observation: Tensors) -> Tensor:
        """What the network says before an action is chosen: logits, values, or the means of a Box action."""
        return self._head.scores(self.prepared(observation))

    def prepared(self, observation: Tensors) -> Tensors:
        """The observation as the network takes it."""
        if not isinstance(observation, dict):
            first: Tensor = self._prepare[0](observation)
            return first
        pairs = zip(self._keys, self._prepare, strict=True)
        return {key: prepare(observation[key]) for key, prepare in pairs if key is not None}

    def decide(self, scores: Tensor) -> Tensor:
        """The best action by these scores."""
        space = self._space
        if isinstance(space, spaces.Discrete):
            return torch.argmax(scores, dim=1)
        if isinstance(space, spaces.MultiDiscrete):
            choices = torch.split(scores, [int(n) for n in np.asarray(space.nvec)], dim=1)
            return torch.stack([torch.argmax(choice, dim=1) for choice in choices], dim=1)
        if isinstance(space, spaces.MultiBinary):
            return (scores > 0).long()
        actions = scores.view(-1, *self.low.shape)
        if self._head.squashes:  # the mean is between -1 and 1
            actions = self.low + 0.5 * (actions + 1.0) * (self.high - self.low)
        return torch.clamp(actions, self.low, self.high)

    def act(self, observations: Batch) -> npt.NDArray[Any]:
        """`forward` on numpy arrays."""
        with torch.inference_mode():
            actions: npt.NDArray[Any] = self(batches.tensors(observations)).numpy()
        return actions

    def differences(self, observations: Batch, actions: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """For which observations `actions`, computed elsewhere, differ from this module's own.

        Two engines round differently. So an action that scores level with the best one, to within that rounding,
        is as good, and a continuous action may be off by it.
        """
        with torch.inference_mode():
            return self._differing(self.scores(batches.tensors(observations)), actions)

    def _differing(self, scores: Tensor, actions: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        with torch.inference_mode():
            expected = self.decide(scores)
            given = torch.as_tensor(actions)
            if given.shape != expected.shape or given.dtype != expected.dtype:
                raise ValueError(
                    f"actions are {list(given.shape)} {given.dtype}, expected {list(expected.shape)} {expected.dtype}"
                )
            rounding = 1e-5 * (1 + scores.abs().amax(dim=1))
            if isinstance(self._space, spaces.Box):
                wrong = ~torch.isclose(given, expected, rtol=1e-4, atol=1e-5)
            else:
                wrong = given != expected
            differs = wrong.flatten(1).any(dim=1) if wrong.ndim > 1 else wrong
            if isinstance(self._space, spaces.Discrete) and differs.any():
                chosen = given.clamp(0, scores.shape[1] - 1)[:, None]
                loss = scores.amax(dim=1) - scores.gather(1, chosen)[:, 0]
                differs &= ~((loss <= rounding) & (given == chosen[:, 0]))
        return np.asarray(differs.numpy())


class RecurrentGraph(PolicyGraph):
    """A policy with a memory: it takes what it remembers, `[batch, memory]`, and gives what it then does. All zeros is
    the memory of an episode that begins."""

    def __init__(
        self, policy: BasePolicy, normaliser: dict[str, Tensor] | None, observation_space: spaces.Space[Any]
    ) -> None:
        super().__init__(policy, normaliser, observation_space)
        lstm: Any = policy.lstm_actor
        self._lstm = lstm
        self._halves: tuple[int, int] = (lstm.num_layers, lstm.hidden_size)
        self.memory: int = 2 * lstm.num_layers * lstm.hidden_size

    def forward(self, observation: Tensors, memory: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """The actions, and what is remembered afterwards."""
        scores, memory = self.recall(observation, memory)
        return self.decide(scores), memory

    def recall(self, observation: Tensors, memory: Tensor) -> tuple[Tensor, Tensor]:
        """The scores, and what is remembered afterwards."""
        policy: Any = self._policy
        features = BasePolicy.extract_features(policy, self.prepared(observation), policy.pi_features_extractor)
        hidden, cell = (half.reshape(-1, *self._halves).transpose(0, 1) for half in memory.chunk(2, dim=1))
        seen, halves = self._lstm(features.unsqueeze(0), (hidden.contiguous(), cell.contiguous()))
        scores = policy.action_net(policy.mlp_extractor.forward_actor(seen.squeeze(0)))
        remembered = [half.transpose(0, 1).reshape(-1, self.memory // 2) for half in halves]
        return scores, torch.cat(remembered, dim=1)

    def scores(self, observation: Tensors) -> Tensor:
        """The scores at the beginning of an episode."""
        copies = len(observation if isinstance(observation, Tensor) else next(iter(observation.values())))
        return self.recall(observation, torch.zeros(copies, self.memory))[0]

    def act(self, observations: Batch) -> npt.NDArray[Any]:
        """The actions at the beginning of an episode."""
        return self.remember(observations, np.zeros((batches.size(observations), self.memory), dtype=np.float32))[0]

    def remember(
        self, observations: Batch, memory: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
        """`forward` on numpy arrays."""
        with torch.inference_mode():
            actions, remembered = self(batches.tensors(observations), torch.as_tensor(memory))
        return actions.numpy(), remembered.numpy()

    def differences_with(
        self, observations: Batch, memory: npt.NDArray[np.float32], actions: npt.NDArray[Any]
    ) -> npt.NDArray[np.bool_]:
        """`differences`, with these memories."""
        with torch.inference_mode():
            scores, _ = self.recall(batches.tensors(observations), torch.as_tensor(memory))
        return self._differing(scores, actions)


class MaskedGraph(PolicyGraph):
    """A policy that is told which actions are valid, `[batch, choices]`, and takes the best of those."""

    def __init__(
        self, policy: BasePolicy, normaliser: dict[str, Tensor] | None, observation_space: spaces.Space[Any]
    ) -> None:
        super().__init__(policy, normaliser, observation_space)
        net: Any = policy.get_submodule("action_net")
        self._logits: int = net.out_features
        binary = isinstance(self._space, spaces.MultiBinary)
        self.choices: int = 2 * self._logits if binary else self._logits

    def forward(self, observation: Tensors, mask: Tensor) -> Tensor:  # type: ignore[override]
        """The actions."""
        return self.decide(self.masked(self.scores(observation), mask))

    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        """The scores, those of actions that are not valid lower than any."""
        lowest = torch.finfo(scores.dtype).min
        if isinstance(self._space, spaces.MultiBinary):  # a mask for 0 and one for 1, of each
            off, on = mask.view(-1, self._logits, 2).unbind(dim=2)
            return torch.where(on, torch.where(off, scores, -lowest), lowest)
        return torch.where(mask, scores, lowest)

    def act(self, observations: Batch) -> npt.NDArray[Any]:
        """The actions where all are valid."""
        return self.choose(observations, np.ones((batches.size(observations), self.choices), dtype=bool))

    def choose(self, observations: Batch, masks: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
        """`forward` on numpy arrays."""
        with torch.inference_mode():
            actions: npt.NDArray[Any] = self(batches.tensors(observations), torch.as_tensor(masks)).numpy()
        return actions

    def differences_with(
        self, observations: Batch, masks: npt.NDArray[np.bool_], actions: npt.NDArray[Any]
    ) -> npt.NDArray[np.bool_]:
        """`differences`, with these masks."""
        with torch.inference_mode():
            scores = self.scores(batches.tensors(observations))
            kept = torch.as_tensor(masks)
            # Where an action is not valid its score says nothing of how finely the others must be told apart.
            spread = scores.abs().amax(dim=1, keepdim=True)
            return self._differing(torch.maximum(self.masked(scores, kept), -1e3 * (1 + spread)), actions)


class Remembers(Protocol):
    """Whoever can act with a memory, `[batch, memory]`."""

    memory: int

    def remember(
        self, observations: Batch, memory: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
        """The actions, and what is remembered afterwards."""
        ...


class Player:
    """A policy with a memory, in so many episodes side by side, from their beginning on."""

    def __init__(self, policy: Remembers, copies: int) -> None:
        self._policy = policy
        self._memory = np.zeros((copies, policy.memory), dtype=np.float32)

    def act(self, observations: Batch) -> npt.NDArray[Any]:
        """Actions for the next observation of every episode."""
        actions, self._memory = self._policy.remember(observations, self._memory)
        return actions


def graph_of(
    policy: BasePolicy, normaliser: dict[str, Tensor] | None, observation_space: spaces.Space[Any]
) -> PolicyGraph:
    """The graph of a trained policy of any kind; `observation_space` is the environment's."""
    kind = PolicyGraph
    if hasattr(policy, "lstm_actor"):
        kind = RecurrentGraph
    elif hasattr(getattr(policy, "action_dist", None), "apply_masking"):
        kind = MaskedGraph
    return kind(policy, normaliser, observation_space)


class _Preparation(torch.nn.Module):
    """One plain observation, or one part of a Dict, as the network takes it."""

    mean: Tensor
    variance: Tensor
    epsilon: Tensor

    def __init__(self, space: spaces.Space[Any], normaliser: dict[str, Tensor], key: str | None) -> None:
        super().__init__()
        self._colours_last = have_colours_last(space)
        self._scales = f"{statistics_name(key)}.mean" in normaliser
        if self._scales:
            self._bound = float(normaliser["clip"])
            self.register_buffer("mean", normaliser[f"{statistics_name(key)}.mean"])
            self.register_buffer("variance", normaliser[f"{statistics_name(key)}.variance"])
            self.register_buffer("epsilon", normaliser["epsilon"])

    def forward(self, observation: Tensor) -> Tensor:
        if self._colours_last:
            observation = observation.permute(0, 3, 1, 2)
        if self._scales:
            # In double precision, as training computes it.
            scaled = (observation.double() - self.mean) / torch.sqrt(self.variance + self.epsilon)
            observation = torch.clamp(scaled, -self._bound, self._bound).float()
        return observation

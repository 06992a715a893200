"""The trained policy as one torch module, from an observation of the environment to the action it is given.

Normalisation, the choice of the best action, and clipping to the action space are inside, so whoever runs the module
needs nothing else. This module is what is evaluated, and what is exported to ONNX.
"""

import math
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

from contract.policy import Noise
from training_image.trainer.envs import observations as batches
from training_image.trainer.envs.images import have_colours_last
from training_image.trainer.envs.observations import Batch, Tensors
from training_image.trainer.policies.heads import drawn, head_of
from training_image.trainer.recovery.state import statistics_name

Floats = npt.NDArray[np.float32]


class PolicyGraph(torch.nn.Module):
    """Actions of shape `[batch, *action_shape]` for observations of shape `[batch, *shape]`, or for a dictionary of
    such where the environment's observations are a Dict.

    Besides observations a policy may take what it remembers, which actions are valid, and noise that makes the best
    action one that is drawn from its distribution. Left out, these are an episode's beginning, all, and none.
    """

    low: Tensor
    high: Tensor

    memory = 0
    """Numbers that it remembers."""
    choices = 0
    """Length of the mask that it takes."""
    noise: Noise | None
    """Which noise draws its actions; None where it has no distribution."""

    def __init__(
        self, policy: BasePolicy, normaliser: dict[str, Tensor] | None, observation_space: spaces.Space[Any]
    ) -> None:
        """`normaliser` holds what `state.capture_normaliser` captured; `observation_space` is the environment's."""
        super().__init__()
        self._policy = policy.eval()
        self._head = head_of(policy)
        self._space = policy.action_space
        self.noise = _noise_for(self._space) if self._head.draws else None
        parts = batches.parts(observation_space)
        self._keys = list(parts)
        self._prepare = torch.nn.ModuleList(_Preparation(space, normaliser or {}, key) for key, space in parts.items())
        if isinstance(self._space, spaces.Box):
            self.register_buffer("low", torch.as_tensor(self._space.low, dtype=torch.float32))
            self.register_buffer("high", torch.as_tensor(self._space.high, dtype=torch.float32))

    @property
    def noise_size(self) -> int:
        """Numbers of noise that an action takes: one for each score."""
        if isinstance(self._space, spaces.Discrete):
            return int(self._space.n)
        if isinstance(self._space, spaces.MultiDiscrete):
            return int(np.sum(self._space.nvec))
        return math.prod(self._space.shape or ())

    def forward(
        self,
        observation: Tensors,
        memory: Tensor | None = None,
        mask: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """The actions, and what is remembered afterwards."""
        scores, memory = self.recall(observation, memory, noise)
        return self.decide(scores if mask is None else self.masked(scores, mask)), memory

    def recall(self, observation: Tensors, memory: Tensor | None, noise: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The scores, and what is remembered afterwards."""
        return self._head.scores(self.prepared(observation), noise), None

    def scores(self, observation: Tensors) -> Tensor:
        """What the network says before an action is chosen: logits, values, or the means of a Box action."""
        return self.recall(observation, None, None)[0]

    def prepared(self, observation: Tensors) -> Tensors:
        """The observation as the network takes it."""
        if not isinstance(observation, dict):
            first: Tensor = self._prepare[0](observation)
            return first
        pairs = zip(self._keys, self._prepare, strict=True)
        return {key: prepare(observation[key]) for key, prepare in pairs if key is not None}

    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        """The scores, those of actions that are not valid lower than any."""
        lowest = torch.finfo(scores.dtype).min
        if isinstance(self._space, spaces.MultiBinary):  # a mask for 0 and one for 1, of each
            off, on = mask.view(-1, self.choices // 2, 2).unbind(dim=2)
            return torch.where(on, torch.where(off, scores, -lowest), lowest)
        return torch.where(mask, scores, lowest)

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

    def answer(
        self,
        observations: Batch,
        *,
        memory: Floats | None = None,
        masks: npt.NDArray[np.bool_] | None = None,
        noise: Floats | None = None,
    ) -> tuple[npt.NDArray[Any], Floats | None]:
        """`forward` on numpy arrays."""
        with torch.inference_mode():
            actions, remembered = self(batches.tensors(observations), *map(_tensor, (memory, masks, noise)))
        return actions.numpy(), None if remembered is None else remembered.numpy()

    def act(self, observations: Batch) -> npt.NDArray[Any]:
        """The best actions."""
        return self.answer(observations)[0]

    def choose(self, observations: Batch, masks: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
        """The best of the valid actions."""
        return self.answer(observations, masks=masks)[0]

    def remember(self, observations: Batch, memory: Floats) -> tuple[npt.NDArray[Any], Floats]:
        """The best actions by what is remembered, and what is remembered afterwards."""
        actions, remembered = self.answer(observations, memory=memory)
        assert remembered is not None
        return actions, remembered

    def differences(
        self,
        observations: Batch,
        actions: npt.NDArray[Any],
        *,
        memory: Floats | None = None,
        masks: npt.NDArray[np.bool_] | None = None,
        noise: Floats | None = None,
    ) -> npt.NDArray[np.bool_]:
        """For which observations `actions`, computed elsewhere, differ from this module's own.

        Two engines round differently. So a choice that scores level with the best one, to within that rounding, is as
        good, and a continuous action may be off by it.
        """
        with torch.inference_mode():
            scores, _ = self.recall(batches.tensors(observations), _tensor(memory), _tensor(noise))
            # By the size of the scores themselves: what is not valid says nothing of how finely they are told apart.
            rounding = 1e-5 * (1 + scores.abs().amax(dim=1))
            if masks is not None:
                scores = self.masked(scores, torch.as_tensor(masks))
            expected, given = self.decide(scores), torch.as_tensor(actions)
            if given.shape != expected.shape or given.dtype != expected.dtype:
                raise ValueError(
                    f"actions are {list(given.shape)} {given.dtype}, expected {list(expected.shape)} {expected.dtype}"
                )
            wrong = self._wrong(scores, given, expected, rounding)
        return np.asarray((wrong.flatten(1).any(dim=1) if wrong.ndim > 1 else wrong).numpy())

    def _wrong(self, scores: Tensor, given: Tensor, expected: Tensor, rounding: Tensor) -> Tensor:
        """Element by element of the actions."""
        space = self._space
        if isinstance(space, spaces.Box):
            return ~torch.isclose(given, expected, rtol=1e-4, atol=1e-5)
        if isinstance(space, spaces.MultiBinary):
            level = (scores.abs() <= rounding[:, None]) & ((given == 0) | (given == 1))
            return (given != expected) & ~level
        sizes = [int(space.n)] if isinstance(space, spaces.Discrete) else [int(n) for n in space.nvec]  # type: ignore[attr-defined]
        columns = given.view(len(given), -1).unbind(dim=1)
        wrong = []
        for choices, chosen in zip(torch.split(scores, sizes, dim=1), columns, strict=True):
            allowed = (chosen >= 0) & (chosen < choices.shape[1])
            found = choices.gather(1, chosen.clamp(0, choices.shape[1] - 1)[:, None])[:, 0]
            wrong.append(~allowed | (choices.amax(dim=1) - found > rounding))
        return torch.stack(wrong, dim=1)


class RecurrentGraph(PolicyGraph):
    """A policy with a memory, `[batch, memory]`; all zeros is that of an episode that begins."""

    def __init__(
        self, policy: BasePolicy, normaliser: dict[str, Tensor] | None, observation_space: spaces.Space[Any]
    ) -> None:
        super().__init__(policy, normaliser, observation_space)
        lstm: Any = policy.lstm_actor
        self._lstm = lstm
        self._halves: tuple[int, int] = (lstm.num_layers, lstm.hidden_size)
        self.memory: int = 2 * lstm.num_layers * lstm.hidden_size

    def recall(self, observation: Tensors, memory: Tensor | None, noise: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The scores, and what is remembered afterwards."""
        policy: Any = self._policy
        features = BasePolicy.extract_features(policy, self.prepared(observation), policy.pi_features_extractor)
        if memory is None:
            memory = torch.zeros(len(features), self.memory)
        hidden, cell = (half.reshape(-1, *self._halves).transpose(0, 1) for half in memory.chunk(2, dim=1))
        seen, halves = self._lstm(features.unsqueeze(0), (hidden.contiguous(), cell.contiguous()))
        scores = drawn(policy, policy.mlp_extractor.forward_actor(seen.squeeze(0)), noise)
        remembered = [half.transpose(0, 1).reshape(-1, self.memory // 2) for half in halves]
        return scores, torch.cat(remembered, dim=1)


class MaskedGraph(PolicyGraph):
    """A policy that is told which actions are valid, `[batch, choices]`, and takes the best of those."""

    def __init__(
        self, policy: BasePolicy, normaliser: dict[str, Tensor] | None, observation_space: spaces.Space[Any]
    ) -> None:
        super().__init__(policy, normaliser, observation_space)
        net: Any = policy.get_submodule("action_net")
        self.choices: int = net.out_features * (2 if isinstance(self._space, spaces.MultiBinary) else 1)


class Remembers(Protocol):
    """Whoever can act with a memory, `[batch, memory]`."""

    memory: int

    def remember(self, observations: Batch, memory: Floats) -> tuple[npt.NDArray[Any], Floats]:
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


def _noise_for(space: spaces.Space[Any]) -> Noise:
    if isinstance(space, spaces.Box):
        return "normal"
    return "logistic" if isinstance(space, spaces.MultiBinary) else "gumbel"


def _tensor(array: npt.NDArray[Any] | None) -> Tensor | None:
    return None if array is None else torch.as_tensor(array)

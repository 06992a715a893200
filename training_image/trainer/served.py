"""The exported policy as it will be served: run by ONNX Runtime, and proven equal to the trained one."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime  # type: ignore[import-untyped]
from gymnasium import spaces

from contract.policy import ACTION_OUTPUT, MASK_INPUT, OBSERVATION_INPUT, STATE_INPUT, STATE_OUTPUT
from training_image.trainer.errors import TrainingError
from training_image.trainer.graph import MaskedGraph, PolicyGraph, RecurrentGraph, input_dtype

MIN_OBSERVATIONS = 10_000
AT_ONCE = 1000
"""Observations compared in one batch; those that are pictures need room."""


class ServedPolicy:
    """An ONNX policy in ONNX Runtime, on one thread."""

    def __init__(self, onnx: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        besides = {node.name: node.shape[1] for node in self._session.get_inputs()[1:]}
        self.memory: int = besides.get(STATE_INPUT, 0)
        self.choices: int = besides.get(MASK_INPUT, 0)

    def act(self, observations: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Actions for a batch of observations; of a policy with a memory, those at the beginning of an episode,
        and of one that is told the valid actions, those where all are."""
        given = {OBSERVATION_INPUT: observations}
        for node in self._session.get_inputs()[1:]:
            shape = (len(observations), node.shape[1])
            given[node.name] = np.ones(shape, dtype=bool) if node.name == MASK_INPUT else np.zeros(shape, np.float32)
        return np.asarray(self._session.run([ACTION_OUTPUT], given)[0])

    def choose(self, observations: npt.NDArray[Any], masks: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
        """Actions of a policy that is told the valid ones."""
        return np.asarray(self._session.run([ACTION_OUTPUT], {OBSERVATION_INPUT: observations, MASK_INPUT: masks})[0])

    def remember(
        self, observations: npt.NDArray[Any], memory: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
        """Actions, and what is remembered afterwards, of a policy with a memory."""
        actions, remembered = self._session.run(
            [ACTION_OUTPUT, STATE_OUTPUT], {OBSERVATION_INPUT: observations, STATE_INPUT: memory}
        )
        return np.asarray(actions), np.asarray(remembered)


def prove_equal(
    served: ServedPolicy, graph: PolicyGraph, space: "spaces.Space[Any]", recorded: npt.NDArray[Any]
) -> int:
    """Compare actions on recorded observations and on extreme ones, at least `MIN_OBSERVATIONS`; returns how many.

    Raises:
        TrainingError: when an action differs, with the first observation where it does.
    """
    observations = np.concatenate([recorded, extreme_observations(space, recorded)])
    if (missing := MIN_OBSERVATIONS - len(observations)) > 0:
        observations = np.concatenate([observations, _sampled(space, recorded, missing)])
    parts = [
        _compare(served, graph, observations[first : first + AT_ONCE]) for first in range(0, len(observations), AT_ONCE)
    ]
    actions = np.concatenate([part for part, _ in parts])
    differs = np.flatnonzero(np.concatenate([part for _, part in parts]))
    if len(differs):
        first = differs[0]
        expected = graph.act(observations[first : first + 1])[0].tolist()
        raise TrainingError(
            f"the exported policy acts differently on {len(differs)} of {len(observations)} observations, first on "
            f"{observations[first].tolist()}: {actions[first].tolist()}, and the trained one {expected}"
        )
    return len(observations)


def _compare(
    served: ServedPolicy, graph: PolicyGraph, observations: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """The served actions, and which of them are not the trained policy's."""
    if isinstance(graph, RecurrentGraph):
        return _compare_with_memory(served, graph, observations)
    if isinstance(graph, MaskedGraph):
        masks = np.random.default_rng(0).random((len(observations), graph.choices)) < 0.5
        masks[np.arange(len(masks)), np.arange(len(masks)) % graph.choices] = True
        actions = served.choose(observations, masks)
        return actions, graph.differences_with(observations, masks, actions)
    actions = served.act(observations)
    return actions, graph.differences(observations, actions)


def _compare_with_memory(
    served: ServedPolicy, graph: RecurrentGraph, observations: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """The served actions with memories of several steps, and which of them, or of the memories, differ."""
    memory = np.zeros((len(observations), graph.memory), dtype=np.float32)
    for step in range(3):
        _, memory = graph.remember(np.roll(observations, step + 1, axis=0), memory)
    actions, remembered = served.remember(observations, memory)
    _, expected = graph.remember(observations, memory)
    forgets = ~np.isclose(remembered, expected, rtol=1e-4, atol=1e-4).all(axis=1)
    return actions, graph.differences_with(observations, memory, actions) | forgets


def extreme_observations(space: "spaces.Space[Any]", recorded: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Observations at the ends of what the space allows, and far outside of what was met where it has no ends."""
    dtype = input_dtype(space)
    if isinstance(space, spaces.Discrete):
        return np.arange(space.start, space.start + space.n, dtype=dtype)
    if isinstance(space, spaces.MultiDiscrete):
        return np.stack([np.zeros_like(space.nvec), space.nvec - 1]).astype(dtype)
    if isinstance(space, spaces.MultiBinary):
        return np.stack([np.zeros(space.shape), np.ones(space.shape)]).astype(dtype)
    assert isinstance(space, spaces.Box)
    if dtype.kind != "f":
        return np.stack([space.low, space.high]).astype(dtype)
    reach = np.abs(recorded).max(axis=0)
    extremes = [np.zeros_like(reach)]
    for factor in (1.0, 10.0, 1e3, 1e6):
        high = np.where(np.isfinite(space.high), np.minimum(space.high, reach * factor), reach * factor)
        low = np.where(np.isfinite(space.low), np.maximum(space.low, -reach * factor), -reach * factor)
        corners = np.random.default_rng(0).integers(0, 2, size=(64, *reach.shape), dtype=np.int8)
        extremes += [high, low, *np.where(corners == 1, high, low)]
    return np.stack(extremes).astype(dtype)


def _sampled(space: "spaces.Space[Any]", recorded: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    """More observations: around those that were met, or drawn from a space that is not continuous."""
    generator = np.random.default_rng(0)
    if isinstance(space, spaces.Box) and input_dtype(space).kind == "f":
        chosen = recorded[generator.integers(len(recorded), size=count)]
        noise = generator.normal(scale=recorded.std(axis=0) + 1e-3, size=chosen.shape)
        return np.clip(chosen + noise, space.low, space.high).astype(recorded.dtype)
    space.seed(0)
    return np.stack([space.sample() for _ in range(count)]).astype(recorded.dtype)

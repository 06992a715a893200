"""The exported policy as it will be served: run by ONNX Runtime, and proven equal to the trained one."""

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime  # type: ignore[import-untyped]
from gymnasium import spaces

from contract.policy import ACTION_OUTPUT, MASK_INPUT, NOISE_INPUT, STATE_INPUT, STATE_OUTPUT
from training_image.trainer.envs import observations as batches
from training_image.trainer.envs.observations import Batch, input_dtype
from training_image.trainer.errors import TrainingError
from training_image.trainer.policies.graph import Floats, PolicyGraph

MIN_OBSERVATIONS = 10_000
AT_ONCE = 1000
"""Observations compared in one batch; those that are pictures need room."""


class ServedPolicy:
    """An ONNX policy in ONNX Runtime, on one thread."""

    def __init__(self, onnx: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # it warns that noise may be given, which is what it is for
        self._session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        besides = {n.name: n.shape[1] for n in self._session.get_inputs() if n.name in (STATE_INPUT, MASK_INPUT)}
        self.memory: int = besides.get(STATE_INPUT, 0)
        self.choices: int = besides.get(MASK_INPUT, 0)

    def answer(
        self,
        observations: Batch,
        *,
        memory: Floats | None = None,
        masks: npt.NDArray[np.bool_] | None = None,
        noise: Floats | None = None,
    ) -> tuple[npt.NDArray[Any], Floats | None]:
        """What `PolicyGraph.answer` does."""
        count = batches.size(observations)
        given = batches.inputs(observations)
        if self.memory:
            given[STATE_INPUT] = np.zeros((count, self.memory), np.float32) if memory is None else memory
        if self.choices:
            given[MASK_INPUT] = np.ones((count, self.choices), bool) if masks is None else masks
        if noise is not None:
            given[NOISE_INPUT] = noise
        outputs = [ACTION_OUTPUT, STATE_OUTPUT] if self.memory else [ACTION_OUTPUT]
        actions, *remembered = self._session.run(outputs, given)
        return np.asarray(actions), np.asarray(remembered[0]) if remembered else None

    def act(self, observations: Batch) -> npt.NDArray[Any]:
        """Actions for a batch of observations; of a policy with a memory, those at the beginning of an episode,
        and of one that is told the valid actions, those where all are."""
        return self.answer(observations)[0]

    def choose(self, observations: Batch, masks: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
        """Actions of a policy that is told the valid ones."""
        return self.answer(observations, masks=masks)[0]

    def remember(self, observations: Batch, memory: Floats) -> tuple[npt.NDArray[Any], Floats]:
        """Actions, and what is remembered afterwards, of a policy with a memory."""
        actions, remembered = self.answer(observations, memory=memory)
        assert remembered is not None
        return actions, remembered


def prove_equal(served: ServedPolicy, graph: PolicyGraph, space: spaces.Space[Any], recorded: Batch) -> int:
    """Compare actions on recorded observations and on extreme ones, at least `MIN_OBSERVATIONS`; returns how many.

    Raises:
        TrainingError: when an action differs, with the first observation where it does.
    """
    observations = to_compare(space, recorded)
    count = batches.size(observations)
    parts = [
        _compare(served, graph, batches.take(observations, slice(first, first + AT_ONCE)))
        for first in range(0, count, AT_ONCE)
    ]
    actions = np.concatenate([part for part, _ in parts])
    differs = np.flatnonzero(np.concatenate([part for _, part in parts]))
    if len(differs):
        one = batches.take(observations, differs[:1])
        raise TrainingError(
            f"the exported policy acts differently on {len(differs)} of {count} observations, first on "
            f"{batches.rows(one)[0]}: {actions[differs[0]].tolist()}, and the trained one {graph.act(one)[0].tolist()}"
        )
    return count


def to_compare(space: spaces.Space[Any], recorded: Batch) -> Batch:
    """The recorded observations, extreme ones, and as many more as make `MIN_OBSERVATIONS`."""
    observations = batches.joined([recorded, extreme_observations(space, recorded)])
    if (missing := MIN_OBSERVATIONS - batches.size(observations)) > 0:
        observations = batches.joined([observations, _sampled(space, recorded, missing)])
    return observations


def _compare(
    served: ServedPolicy, graph: PolicyGraph, observations: Batch
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """The served actions, and which of them are not the trained policy's; also with a memory of several steps, with
    masks, and where the policy may draw, those that it draws."""
    generator, count = np.random.default_rng(0), batches.size(observations)
    given: dict[str, Any] = {}
    if graph.choices:
        given["masks"] = some_masks(graph.choices, count)
    if graph.memory:
        memory = np.zeros((count, graph.memory), dtype=np.float32)
        for step in range(3):
            _, memory = graph.remember(batches.each(partial(np.roll, shift=step + 1, axis=0), observations), memory)
        given["memory"] = memory
    actions, remembered = served.answer(observations, **given)
    differs = graph.differences(observations, actions, **given)
    if graph.memory:
        _, expected = graph.answer(observations, **given)
        assert remembered is not None
        assert expected is not None
        differs |= ~np.isclose(remembered, expected, rtol=1e-4, atol=1e-4).all(axis=1)
    if graph.noise:
        draw: dict[str, Any] = {
            "normal": generator.standard_normal,
            "gumbel": generator.gumbel,
            "logistic": generator.logistic,
        }
        given["noise"] = draw[graph.noise](size=(count, graph.noise_size)).astype(np.float32)
        drawn, _ = served.answer(observations, **given)
        differs |= graph.differences(observations, drawn, **given)
    return actions, differs


def some_masks(choices: int, count: int) -> npt.NDArray[np.bool_]:
    """Masks with about half of the choices valid, and one at least in each; the same ones each time."""
    masks = np.random.default_rng(0).random((count, choices)) < 0.5
    masks[np.arange(count), np.arange(count) % choices] = True
    return masks


def extreme_observations(space: spaces.Space[Any], recorded: Batch) -> Batch:
    """Observations at the ends of what the space allows, and far outside of what was met where it has no ends. The
    extremes of a Dict's parts come together in many ways."""
    if not isinstance(recorded, dict):
        return _extremes(space, recorded)
    extremes = {key: _extremes(part, recorded[str(key)]) for key, part in batches.parts(space).items()}
    most = max(map(len, extremes.values()))
    generator = np.random.default_rng(0)
    return {
        str(key): array[np.concatenate([np.arange(most) % len(array), generator.integers(len(array), size=most)])]
        for key, array in extremes.items()
    }


def _extremes(space: spaces.Space[Any], recorded: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Of a plain space."""
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


def _sampled(space: spaces.Space[Any], recorded: Batch, count: int) -> Batch:
    """More observations: around those that were met, or drawn from a space that is not continuous."""
    if isinstance(recorded, dict):
        return {
            str(key): _more(part, recorded[str(key)], count, seed)
            for seed, (key, part) in enumerate(batches.parts(space).items())
        }
    return _more(space, recorded, count, 0)


def _more(space: spaces.Space[Any], recorded: npt.NDArray[Any], count: int, seed: int) -> npt.NDArray[Any]:
    """Of a plain space."""
    generator = np.random.default_rng(seed)
    if isinstance(space, spaces.Box) and input_dtype(space).kind == "f":
        chosen = recorded[generator.integers(len(recorded), size=count)]
        noise = generator.normal(scale=recorded.std(axis=0) + 1e-3, size=chosen.shape)
        return np.clip(chosen + noise, space.low, space.high).astype(recorded.dtype)
    space.seed(seed)
    return np.stack([space.sample() for _ in range(count)]).astype(recorded.dtype)

"""A model folder as a function from observations to actions, proven at start on what validation saw."""

from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from contract.policy import (
    ACTION_OUTPUT,
    GOLDEN_DOCUMENT,
    OBSERVATION_INPUT,
    POLICY_DOCUMENT,
    POLICY_GRAPH,
    Space,
)
from serving_image.model_folder import ModelError, golden_document, load_graph, policy_document
from serving_image.observations import Observations, SpaceError, graph_dtype
from serving_image.refusals import RefusalError

# Float actions may differ in the last bits between processors; a wrong graph differs by far more.
_RELATIVE, _ABSOLUTE = 1e-4, 1e-5
_GOLDEN_BATCH = 256


class ServedPolicy:
    """A policy that has shown it answers as it did in validation.

    Args:
        folder: holds `policy.onnx`, `policy.json` and `golden.json`.

    Raises:
        ModelError: a file is missing or malformed, or an action differs from the validated one.
    """

    def __init__(self, folder: Path) -> None:
        self.document = policy_document(folder / POLICY_DOCUMENT)
        try:
            # `policy_document` has refused every other kind of space.
            self.observations = Observations(cast(Space, self.document["observation_space"]))
            self._action_dtype = graph_dtype(self.document["action_space"])
        except SpaceError as error:
            raise ModelError(f"{folder / POLICY_DOCUMENT} cannot be served: {error}.") from error
        self._action_shape = tuple(self.document["action_space"]["shape"])
        self._session = load_graph(folder / POLICY_GRAPH)
        self._check_graph(folder / POLICY_GRAPH)
        self.golden_count = self._replay(folder / GOLDEN_DOCUMENT)

    def act(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Actions `[batch, *action_shape]` for observations `[batch, *shape]` of the graph's dtype.

        Raises:
            RefusalError: the numbers are so large that the network overflows on them.
        """
        actions: NDArray[Any] = self._session.run([ACTION_OUTPUT], {OBSERVATION_INPUT: observations})[0]
        if actions.dtype.kind == "f" and not np.isfinite(actions).all():
            raise RefusalError(
                400,
                field="observations",
                given="numbers for which the action is not finite",
                expected="numbers of the size that the policy was trained on",
            )
        return actions

    def _check_graph(self, path: Path) -> None:
        """Hold the graph against what policy.json says of it."""
        taken, given = self._session.get_inputs(), self._session.get_outputs()
        if [node.name for node in taken] != [OBSERVATION_INPUT] or ACTION_OUTPUT not in [node.name for node in given]:
            raise ModelError(
                f"{path} must map the input {OBSERVATION_INPUT!r} to the output {ACTION_OUTPUT!r}, "
                f"not {[node.name for node in taken]} to {[node.name for node in given]}."
            )
        dtype, shape = self.observations.dtype, self.observations.shape
        wanted = "tensor(float)" if dtype.kind == "f" else f"tensor({dtype.name})"
        batch, *sizes = taken[0].shape or [0]
        fits = len(sizes) == len(shape) and all(
            size == own for size, own in zip(sizes, shape, strict=True) if isinstance(size, int)
        )
        if taken[0].type != wanted or not fits or isinstance(batch, int):
            raise ModelError(
                f"{path} takes {taken[0].type} of shape {taken[0].shape}, but {POLICY_DOCUMENT} says "
                f"observations are {wanted} of shape ['batch', {', '.join(map(str, shape))}]."
            )

    def _replay(self, path: Path) -> int:
        """Play the recorded observations and compare the actions; answers how many there were."""
        golden = golden_document(path)
        try:
            actions = self._replayed_actions(golden["observations"])
        except RefusalError as refusal:
            raise ModelError(f"{path} holds an observation that the policy cannot take: {refusal}.") from refusal
        except Exception as error:  # ONNX Runtime raises a class of its own for each of its status codes
            raise ModelError(f"The graph fails on the observations of {path}: {error}.") from error
        expected = self._expected_actions(golden["actions"], actions, path)
        if actions.dtype.kind == "f":
            equal = np.isclose(actions, expected, rtol=_RELATIVE, atol=_ABSOLUTE)
        else:
            equal = actions == expected
        different = np.flatnonzero(~equal.reshape(len(actions), -1).all(axis=1))
        if different.size:
            index = int(different[0])
            raise ModelError(
                f"The policy does not answer as it did in validation: {different.size} of {len(actions)} actions in "
                f"{path} differ, the first at {index}: {actions[index].tolist()} instead of {golden['actions'][index]}."
            )
        return len(actions)

    def _replayed_actions(self, observations: list[Any]) -> NDArray[Any]:
        batches = (observations[first : first + _GOLDEN_BATCH] for first in range(0, len(observations), _GOLDEN_BATCH))
        return np.concatenate([self.act(self.observations.read(batch, single=False)) for batch in batches])

    def _expected_actions(self, recorded: list[Any], actions: NDArray[Any], path: Path) -> NDArray[Any]:
        """The recorded actions as an array, held against the form that policy.json says actions have."""
        wanted = (len(recorded), *self._action_shape)
        if actions.shape != wanted or actions.dtype.kind != self._action_dtype.kind:
            raise ModelError(
                f"The graph answers {actions.dtype} actions of shape {list(actions.shape)}, but {POLICY_DOCUMENT} says "
                f"{self._action_dtype} of shape {list(wanted)}."
            )
        try:
            expected = np.array(recorded, dtype=np.float64 if actions.dtype.kind == "f" else np.int64)
        except (TypeError, ValueError, OverflowError) as error:
            raise ModelError(f"{path}: actions must be numbers of shape {list(wanted)}: {error}.") from error
        if expected.shape != wanted:
            raise ModelError(f"{path}: actions must have shape {list(wanted)}, not {list(expected.shape)}.")
        return expected

"""A policy as it is served: ONNX Runtime, and what its documents say of it."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from numpy.typing import NDArray

from contract.policy import (
    ACTION_OUTPUT,
    MASK_INPUT,
    NOISE_INPUT,
    OBSERVATION_INPUT,
    POLICY_DOCUMENT,
    POLICY_GRAPH,
    STATE_INPUT,
    STATE_OUTPUT,
    observation_inputs,
)
from serving_image.model_folder import ModelError, check_inputs, load_graph, policy_document
from serving_image.observations import Observations, SpaceError, graph_dtype
from serving_image.refusals import RefusalError


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a request asks, as the graph takes it: observations by input, and what the policy needs besides."""

    inputs: dict[str, NDArray[Any]]
    count: int
    single: bool
    masks: NDArray[np.bool_] | None = None
    states: NDArray[np.float32] | None = None
    noise: NDArray[np.float32] | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Actions `[batch, *action_shape]`, and what a policy with a memory then remembers, `[batch, n]`."""

    actions: NDArray[Any]
    states: NDArray[np.float32] | None = field(default=None)


class ServedPolicy:
    """A function from observations to actions. `proof.load` reads one that has shown to be the right one.

    Args:
        folder: holds `policy.onnx` and `policy.json`.

    Raises:
        ModelError: a file is missing or malformed, or they do not fit each other.
    """

    def __init__(self, folder: Path) -> None:
        self.document = policy_document(folder / POLICY_DOCUMENT)
        self.run_id: str = self.document["run_id"]
        try:
            spaces = observation_inputs(self.document["observation_space"])
            self.parts = {name: Observations(space) for name, space in spaces.items()}
            self.action_dtype = graph_dtype(self.document["action_space"])
        except SpaceError as error:
            raise ModelError(f"{folder / POLICY_DOCUMENT} cannot be served: {error}.") from error
        self.action_shape = tuple(self.document["action_space"]["shape"])
        content = load_graph(folder / POLICY_GRAPH)
        self._session, self.fingerprint = content.session, hashlib.sha256(content.bytes).digest()[:8]
        besides = check_inputs(self._session, folder / POLICY_GRAPH, self.parts)
        self.choices = besides.get(MASK_INPUT, 0)
        """Length of the mask that it must be given; 0 where it takes none."""
        self.memory = besides.get(STATE_INPUT, 0)
        """Numbers that it remembers; 0 where it has no memory."""
        self.noise_size = besides.get(NOISE_INPUT, 0)
        self.noise = self.document.get("noise") if self.noise_size else None
        self.bodies: dict[tuple[str, int], bytes] = {}
        """Answers to single requests, by their form and the number of the action."""
        self._outputs = [ACTION_OUTPUT, STATE_OUTPUT] if self.memory else [ACTION_OUTPUT]
        self._alone: _Alone | None = None

    @property
    def plain(self) -> Observations | None:
        """How to read an observation where nothing else is needed for an action; None where something is."""
        return None if self.choices or self.memory else self.parts.get(OBSERVATION_INPUT)

    def act(self, question: Question) -> Answer:
        """The answer to a question.

        Raises:
            RefusalError: the numbers are so large that the network overflows on them.
        """
        besides = {MASK_INPUT: question.masks, STATE_INPUT: question.states, NOISE_INPUT: question.noise}
        given = question.inputs | {name: array for name, array in besides.items() if array is not None}
        actions, *states = self._session.run(self._outputs, given)
        for output in (actions, *states):
            if output.dtype.kind == "f" and not np.isfinite(output).all():
                raise overflow()
        return Answer(actions=actions, states=states[0] if states else None)

    def act_on(self, observations: NDArray[Any]) -> NDArray[Any]:
        """The best actions of a `plain` policy; not all of them need be finite.

        That for one observation is overwritten by the next call's.
        """
        if len(observations) == 1 and self._alone:
            return self._alone.act_on(observations)
        actions: NDArray[Any] = self._session.run(self._outputs, {OBSERVATION_INPUT: observations})[0]
        if len(observations) == 1:
            self._alone = _Alone(self._session, observations, actions)
        return actions


class _Alone:
    """A graph that is bound to room for one observation and its action: a call takes half as long."""

    def __init__(self, session: onnxruntime.InferenceSession, observation: NDArray[Any], action: NDArray[Any]) -> None:
        """The arrays say how much room, `[1, *shape]` each, and of which dtype."""
        self._observation, self._action = np.empty_like(observation), np.empty_like(action)
        self._session, self._binding = session, session.io_binding()
        for bind, name, room in (
            (self._binding.bind_input, OBSERVATION_INPUT, self._observation),
            (self._binding.bind_output, ACTION_OUTPUT, self._action),
        ):
            bind(name, "cpu", 0, room.dtype, room.shape, room.ctypes.data)

    def act_on(self, observation: NDArray[Any]) -> NDArray[Any]:
        self._observation[:] = observation
        self._session.run_with_iobinding(self._binding)
        return self._action


def overflow() -> RefusalError:
    """Why an action that is not finite is no answer."""
    return RefusalError(
        400,
        field="observations",
        given="numbers for which the action is not finite",
        expected="numbers of the size that the policy was trained on",
    )

"""What `model.tar.gz` holds and how the serving container is spoken to. Standard library only.

`policy.onnx` maps `observation` (float32, or the space's integer type, `[batch, *shape]`) to `action`
(int64 or float32, `[batch, *action_shape]`), with normalisation and action scaling inside the graph.
Where an observation is a Dict, each of its parts is an input of its own: `observation_inputs` names them.
`policy.json` is a `Policy`; `golden.json` a `Golden`. There is no pickle anywhere.

A request is `{"observation": [...]}` and answers `{"action": ...}`, or `{"observations": [[...], ...]}` and
answers `{"actions": [...]}`. An observation that is a Dict is a JSON object with exactly the space's keys:
`{"observation": {"position": [0.1, 0.2], "gear": 3}}`. Where `environment.frame_stack` is n, an observation is the
environment's last n, joined along the last axis (of pictures with their colours first, along the first).

Besides, a request may or must have
- `action_mask` (`action_masks`): for a policy that is told the valid actions, which ones are, as booleans;
- `state` (`states`): for a policy with a memory, the `state` of the answer before, null when an episode begins;
- `deterministic: false`, and a `seed`: to draw the action from the policy's distribution instead of taking the best.
"""

from typing import Any, Literal, NotRequired, TypedDict

MODEL_URI_VARIABLE = "RLPIPE_MODEL_URI"
"""Tells a container where in S3 the archive is that it serves."""

POLICY_GRAPH = "policy.onnx"
POLICY_DOCUMENT = "policy.json"
GOLDEN_DOCUMENT = "golden.json"

OBSERVATION_INPUT = "observation"
ACTION_OUTPUT = "action"

MASK_INPUT = "action_mask"
"""What a policy that must be told the valid actions takes besides, bool `[batch, choices]`."""

STATE_INPUT = "state"
STATE_OUTPUT = "next_state"
"""What a policy with a memory takes and gives besides, float32 `[batch, n]`; zeros when an episode begins."""

NOISE_INPUT = "noise"
"""What a policy that can draw its actions may be given besides, float32 `[batch, n]`, of the distribution that its
document names. Left out, it is zero, and the action is the best one."""


class Space(TypedDict):
    """A Gymnasium space as JSON.

    `shape` leaves out the batch. Infinite bounds are null. `n` and `start` describe Discrete, `nvec`
    MultiDiscrete; MultiBinary is given by its shape.
    """

    type: Literal["Box", "Discrete", "MultiDiscrete", "MultiBinary"]
    shape: list[int]
    dtype: str
    low: NotRequired[Any]
    high: NotRequired[Any]
    n: NotRequired[int]
    start: NotRequired[int]
    nvec: NotRequired[Any]


class DictSpace(TypedDict):
    """A Gymnasium Dict as JSON: its parts by their keys, in the space's order. A part is never a Dict itself."""

    type: Literal["Dict"]
    spaces: dict[str, Space]


ObservationSpace = Space | DictSpace


def observation_inputs(space: ObservationSpace) -> dict[str, Space]:
    """The inputs of `policy.onnx` that take an observation, by their names, and the space of each.

    A plain space has one, `observation`. A Dict has one for each part, `observation.<key>`, in the space's order; each
    is `[batch, *shape]` of the part. `action_mask` and `state`, where there are any, come after them.
    """
    if space["type"] == "Dict":
        return {observation_input(key): part for key, part in space["spaces"].items()}
    return {OBSERVATION_INPUT: space}


def observation_input(key: str) -> str:
    """The input of `policy.onnx` that takes the part of a Dict observation with this key."""
    return f"{OBSERVATION_INPUT}.{key}"


Noise = Literal["normal", "gumbel", "logistic"]
"""Standard normal for continuous actions, standard Gumbel for choices, standard logistic for MultiBinary."""


class Statistics(TypedDict):
    """How the observations of validation were distributed, element by element of one input of the graph.

    Elements are those of an observation, flat; of a large one, `MOST_ELEMENTS` of them spread evenly over it.
    """

    count: int
    """Observations that these rest on."""
    mean: list[float]
    std: list[float]
    edges: list[list[float]]
    """Up to 9 ascending deciles of each element, each of them once."""
    shares: list[list[float]]
    """Share of the observations below the first edge, from it to the next, and so on; one more than edges."""


MOST_ELEMENTS = 64


class Policy(TypedDict):
    """`policy.json`: all that the serving container knows of what it serves."""

    format: Literal[1]
    run_id: str
    algorithm: str
    environment: dict[str, Any]
    observation_space: ObservationSpace
    action_space: Space
    versions: dict[str, str]
    verdict: dict[str, Any]
    noise: NotRequired[Noise | None]
    """Null where the policy always takes its best action."""
    statistics: NotRequired[dict[str, Statistics]]
    """By input of the graph."""


class Golden(TypedDict):
    """`golden.json`: n observations, each as a request has it, and the actions that validation saw for them."""

    observations: list[Any]
    actions: list[Any]
    action_masks: NotRequired[list[list[bool]]]

"""What `model.tar.gz` holds and how the serving container is spoken to. Standard library only.

`policy.onnx` maps `observation` (float32, or the space's integer type, `[batch, *shape]`) to `action`
(int64 or float32, `[batch, *action_shape]`), with normalisation and action scaling inside the graph.
`policy.json` is a `Policy`; `golden.json` a `Golden`. There is no pickle anywhere.

A request is `{"observation": [...]}` and answers `{"action": ...}`, or `{"observations": [[...], ...]}` and
answers `{"actions": [...]}`.
"""

from typing import Any, Literal, NotRequired, TypedDict

POLICY_GRAPH = "policy.onnx"
POLICY_DOCUMENT = "policy.json"
GOLDEN_DOCUMENT = "golden.json"

OBSERVATION_INPUT = "observation"
ACTION_OUTPUT = "action"

MASK_INPUT = "action_mask"
"""What a policy that must be told the valid actions takes besides, bool `[batch, choices]`."""

STATE_INPUT = "state"
STATE_OUTPUT = "next_state"
"""What a policy with a memory takes and gives besides, float32 `[batch, n]`; zeros when an episode begins.

A request has no place for a mask or a memory, so policies that need one are exported and validated but not served."""


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


class Policy(TypedDict):
    """`policy.json`: all that the serving container knows of what it serves."""

    format: Literal[1]
    run_id: str
    algorithm: str
    environment: dict[str, Any]
    observation_space: Space
    action_space: Space
    versions: dict[str, str]
    verdict: dict[str, Any]


class Golden(TypedDict):
    """`golden.json`: observations of shape `[n, *shape]` and the actions that validation saw for them."""

    observations: list[Any]
    actions: list[Any]

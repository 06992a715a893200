"""A model folder is served only when its policy answers as it did in validation."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.policy import GOLDEN_DOCUMENT, POLICY_DOCUMENT
from serving_image.model_folder import ModelError, golden_document
from serving_image.policy import ServedPolicy
from serving_image.questions import several
from serving_image.refusals import RefusalError

# Float actions may differ in the last bits between processors; a wrong graph differs by far more.
_RELATIVE, _ABSOLUTE = 1e-4, 1e-5
_AT_ONCE = 256


def load(folder: Path) -> tuple[ServedPolicy, int]:
    """The policy in a folder that holds `policy.onnx`, `policy.json` and `golden.json`, and how many observations of
    validation it has answered as it did there.

    Raises:
        ModelError: a file is missing or malformed, or an action differs from the validated one.
    """
    policy = ServedPolicy(folder)
    return policy, _replay(policy, folder / GOLDEN_DOCUMENT)


def _replay(policy: ServedPolicy, path: Path) -> int:
    golden = golden_document(path)
    observations, masks = golden["observations"], golden.get("action_masks")
    if policy.choices and (not isinstance(masks, list) or len(masks) != len(observations)):
        raise ModelError(f"{path}: action_masks must be a list as long as observations: this policy is told them.")
    try:
        actions = np.concatenate(
            [
                _answered(policy, observations, masks if policy.choices else None, first)
                for first in range(0, len(observations), _AT_ONCE)
            ]
        )
    except RefusalError as refusal:
        raise ModelError(f"{path} holds an observation that the policy cannot take: {refusal}.") from refusal
    except Exception as error:  # ONNX Runtime raises a class of its own for each of its status codes
        raise ModelError(f"The graph fails on the observations of {path}: {error}.") from error
    expected = _expected_actions(policy, golden["actions"], actions, path)
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


def _answered(policy: ServedPolicy, observations: list[Any], masks: list[Any] | None, first: int) -> NDArray[Any]:
    document: dict[str, Any] = {"observations": observations[first : first + _AT_ONCE]}
    if masks is not None:
        document["action_masks"] = masks[first : first + _AT_ONCE]
    return policy.act(several(policy, document)).actions


def _expected_actions(policy: ServedPolicy, recorded: list[Any], actions: NDArray[Any], path: Path) -> NDArray[Any]:
    """The recorded actions as an array, held against the form that policy.json says actions have."""
    wanted = (len(recorded), *policy.action_shape)
    if actions.shape != wanted or actions.dtype.kind != policy.action_dtype.kind:
        raise ModelError(
            f"The graph answers {actions.dtype} actions of shape {list(actions.shape)}, but {POLICY_DOCUMENT} says "
            f"{policy.action_dtype} of shape {list(wanted)}."
        )
    try:
        expected = np.array(recorded, dtype=np.float64 if actions.dtype.kind == "f" else np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"{path}: actions must be numbers of shape {list(wanted)}: {error}.") from error
    if expected.shape != wanted:
        raise ModelError(f"{path}: actions must have shape {list(wanted)}, not {list(expected.shape)}.")
    return expected

"""The files of a model folder, read with every mistake in them named."""

from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

import onnxruntime  # type: ignore[import-untyped]
import orjson

from contract.policy import Golden, Policy, Space

_SPACES = get_args(get_type_hints(Space)["type"])
_NEEDS = {"Discrete": ["n"], "MultiDiscrete": ["nvec"]}


class ModelError(Exception):
    """The model folder holds nothing that may be served; the message is one sentence for people."""


def load_graph(path: Path) -> onnxruntime.InferenceSession:
    """One thread: a policy's graph is so small that handing work over costs more than doing it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if not path.is_file():
        raise ModelError(f"{path} is missing.")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a class of its own for each of its status codes
        raise ModelError(f"{path} is not a graph that ONNX Runtime can load: {error}.") from error


def policy_document(path: Path) -> Policy:
    document = _object(path, required=list(Policy.__required_keys__))
    if document["format"] != 1:
        raise ModelError(f"{path} has format {document['format']!r}; this server reads format 1.")
    for name in ("observation_space", "action_space"):
        _check_space(document[name], path, name)
    return cast(Policy, document)


def _check_space(space: Any, path: Path, name: str) -> None:
    if not isinstance(space, dict) or space.get("type") not in _SPACES:
        raise ModelError(f"{path}: {name}.type must be one of {', '.join(_SPACES)}.")
    missing = [key for key in ("shape", "dtype", *_NEEDS.get(space["type"], [])) if key not in space]
    if missing:
        raise ModelError(f"{path}: {name} lacks {', '.join(missing)}.")
    for key in ("n", "start"):
        if type(space.get(key, 0)) is not int:
            raise ModelError(f"{path}: {name}.{key} must be a whole number, not {space[key]!r}.")
    if not isinstance(space["shape"], list) or not all(type(size) is int for size in space["shape"]):
        raise ModelError(f"{path}: {name}.shape must be a list of whole numbers, not {space['shape']!r}.")


def golden_document(path: Path) -> Golden:
    document = _object(path, required=list(Golden.__required_keys__))
    observations, actions = document["observations"], document["actions"]
    if not isinstance(observations, list) or not isinstance(actions, list) or len(observations) != len(actions):
        raise ModelError(f"{path}: observations and actions must be lists of the same length.")
    if not observations:
        raise ModelError(f"{path} holds no observation, so nothing shows that the policy answers as validated.")
    return cast(Golden, document)


def _object(path: Path, *, required: list[str]) -> dict[str, Any]:
    try:
        document = orjson.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing.") from error
    except (OSError, orjson.JSONDecodeError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(document, dict):
        raise ModelError(f"{path} must hold a JSON object.")
    missing = sorted(set(required) - document.keys())
    if missing:
        raise ModelError(f"{path} lacks {', '.join(missing)}.")
    return document

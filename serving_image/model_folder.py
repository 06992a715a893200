"""The files of a model folder, read with every mistake in them named."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

import onnxruntime  # type: ignore[import-untyped]
import orjson

from contract.policy import (
    ACTION_OUTPUT,
    MASK_INPUT,
    NOISE_INPUT,
    POLICY_DOCUMENT,
    STATE_INPUT,
    STATE_OUTPUT,
    Golden,
    Noise,
    Policy,
    Space,
)
from serving_image.observations import Observations

_SPACES = get_args(get_type_hints(Space)["type"])
_NEEDS = {"Discrete": ["n"], "MultiDiscrete": ["nvec"]}
_BESIDES = {MASK_INPUT: "tensor(bool)", STATE_INPUT: "tensor(float)"}


class ModelError(Exception):
    """The model folder holds nothing that may be served; the message is one sentence for people."""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A policy's graph, ready to run, and the bytes that it was read from."""

    session: onnxruntime.InferenceSession
    bytes: bytes


def load_graph(path: Path) -> Graph:
    """One thread: a policy's graph is so small that handing work over costs more than doing it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if not path.is_file():
        raise ModelError(f"{path} is missing.")
    try:
        content = path.read_bytes()
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a class of its own for each of its status codes
        raise ModelError(f"{path} is not a graph that ONNX Runtime can load: {error}.") from error
    return Graph(session=session, bytes=content)


def check_inputs(
    session: onnxruntime.InferenceSession, path: Path, parts: Mapping[str, Observations]
) -> dict[str, int]:
    """Hold a graph against what policy.json says of it; answers what it takes besides observations, with the length of
    each.

    Raises:
        ModelError: an input or output is missing, or is not as its space says.
    """
    taken = {node.name: node for node in session.get_inputs()}
    outputs = [node.name for node in session.get_outputs()]
    besides = [name for name in taken if name not in parts]
    wanted = [ACTION_OUTPUT, STATE_OUTPUT] if STATE_INPUT in besides else [ACTION_OUTPUT]
    if not set(parts) <= set(taken) or not set(besides) <= set(_BESIDES) or not set(wanted) <= set(outputs):
        names = " and ".join(repr(name) for name in wanted)
        raise ModelError(
            f"{path} must map the input {', '.join(map(repr, parts))} to the output {names}, "
            f"not {list(taken)} to {outputs}."
        )
    for name, reader in parts.items():
        kind = "tensor(float)" if reader.dtype.kind == "f" else f"tensor({reader.dtype.name})"
        _check_node(taken[name], path, kind, list(reader.shape))
    for name in besides:
        _check_node(taken[name], path, _BESIDES[name], [0])
    noise = [node for node in session.get_overridable_initializers() if node.name == NOISE_INPUT]
    return {node.name: node.shape[1] for node in [*(taken[name] for name in besides), *noise]}


def _check_node(node: Any, path: Path, kind: str, wanted: list[int]) -> None:
    """`wanted` sizes come after the batch; 0 is any."""
    batch, *sizes = node.shape or [0]
    fits = len(sizes) == len(wanted) and all(
        not isinstance(size, int) or size == own or own == 0 for size, own in zip(sizes, wanted, strict=True)
    )
    if node.type != kind or not fits or isinstance(batch, int) or (wanted == [0] and not isinstance(sizes[0], int)):
        raise ModelError(
            f"{path} takes {node.type} of shape {node.shape} as {node.name}, but {POLICY_DOCUMENT} says "
            f"observations are {kind} of shape ['batch', {', '.join(map(str, wanted))}]."
        )


def policy_document(path: Path) -> Policy:
    document = _object(path, required=list(Policy.__required_keys__))
    if document["format"] != 1:
        raise ModelError(f"{path} has format {document['format']!r}; this server reads format 1.")
    if document.get("noise") not in (None, *get_args(Noise)):
        raise ModelError(f"{path}: noise must be one of {', '.join(get_args(Noise))}, or null.")
    space = document["observation_space"]
    if isinstance(space, dict) and space.get("type") == "Dict":
        parts = space.get("spaces")
        if not isinstance(parts, dict) or not parts:
            raise ModelError(f"{path}: observation_space.spaces must be an object with a space for each part.")
        for key, part in parts.items():
            _check_space(part, path, f"observation_space.spaces.{key}")
    else:
        _check_space(space, path, "observation_space")
    _check_space(document["action_space"], path, "action_space")
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

"""Tiny policies as real ONNX graphs: a linear layer, then argmax or the numbers themselves."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

CARTPOLE = {"type": "Box", "shape": [4], "dtype": "float32", "low": [-4.8, None, -0.42, None], "high": None}
TWO_ACTIONS = {"type": "Discrete", "shape": [], "dtype": "int64", "n": 2, "start": 0}
FORCE = {"type": "Box", "shape": [2], "dtype": "float32", "low": [-2, -2], "high": [2, 2]}

ROBOT = {
    "type": "Dict",
    "spaces": {"position": CARTPOLE, "gear": {"type": "Discrete", "shape": [], "dtype": "int64", "n": 5, "start": -1}},
}

OBSERVATION_SPACES: dict[str, dict[str, Any]] = {
    "box": CARTPOLE,
    "image": {"type": "Box", "shape": [2, 3, 1], "dtype": "uint8", "low": 0, "high": 255},
    "discrete": {"type": "Discrete", "shape": [], "dtype": "int64", "n": 16, "start": 0},
    "multidiscrete": {"type": "MultiDiscrete", "shape": [3], "dtype": "int64", "nvec": [2, 5, 3]},
    "multibinary": {"type": "MultiBinary", "shape": [4], "dtype": "int8"},
    "dict": ROBOT,
}
VALID: dict[str, list[Any]] = {
    "box": [[0.1, -0.2, 0.03, 1], [-1, 2.5, 0, 1e-3], [0, 0, 0, 0]],
    "image": [[[[0], [255], [1]], [[2], [3], [4]]], [[[9], [8], [7]], [[6], [5], [4]]]],
    "discrete": [0, 15, 7],
    "multidiscrete": [[0, 0, 0], [1, 4, 2], [1, 2, 0]],
    "multibinary": [[0, 1, 1, 0], [1, 1, 1, 1]],
    "dict": [{"position": [0.1, -0.2, 0.03, 1], "gear": -1}, {"gear": 3, "position": [-1, 2.5, 0, 1e-3]}],
}


def weights(observation_space: dict[str, Any], outputs: int = 2) -> NDArray[np.float32]:
    """Fixed weights `[inputs, outputs]`, different in every place."""
    inputs = sum(int(np.prod(space["shape"], dtype=int)) for space in _parts(observation_space).values())
    rows = np.sin(np.arange(1, inputs * outputs + 1, dtype=np.float32))
    return rows.reshape(inputs, outputs).astype(np.float32)


def expected_actions(
    observations: list[Any], observation_space: dict[str, Any], action_space: dict[str, Any]
) -> list[Any]:
    """What the policy must answer, computed without ONNX."""
    outputs = 2
    flat = np.stack([_flat(observation, observation_space) for observation in observations])
    scores = flat @ weights(observation_space, outputs)
    actions: list[Any] = (scores.argmax(axis=1) if action_space["type"] == "Discrete" else scores).tolist()
    return actions


def write_model(
    folder: Path,
    *,
    observation_space: dict[str, Any] = CARTPOLE,
    action_space: dict[str, Any] = TWO_ACTIONS,
    observations: list[Any] | None = None,
    run_id: str = "tiny-000000000000",
    masked: bool = False,
    remembers: bool = False,
    noise: str | None = None,
    statistics: dict[str, Any] | None = None,
) -> Path:
    """A complete model folder whose golden actions are right.

    `masked` takes two choices; what is remembered is half of what was before and the scores, which it adds to; `noise`
    is added to the scores.
    """
    folder.mkdir(parents=True, exist_ok=True)
    observations = VALID["box"] if observations is None else observations
    graph = _graph(observation_space, action_space, masked=masked, remembers=remembers, noise=noise is not None)
    onnx.save(graph, folder / "policy.onnx")
    policy = {
        "format": 1,
        "run_id": run_id,
        "algorithm": "ppo",
        "environment": {"id": "CartPole-v1", "kwargs": {}},
        "observation_space": observation_space,
        "action_space": action_space,
        "versions": {},
        "verdict": {},
        "noise": noise,
        "statistics": statistics or {},
    }
    golden = {
        "observations": observations,
        "actions": expected_actions(observations, observation_space, action_space),
    }
    if masked:
        golden["action_masks"] = [[True, True]] * len(observations)
    (folder / "policy.json").write_text(json.dumps(policy))
    (folder / "golden.json").write_text(json.dumps(golden))
    return folder


def _graph(
    observation_space: dict[str, Any], action_space: dict[str, Any], *, masked: bool, remembers: bool, noise: bool
) -> onnx.ModelProto:
    discrete = action_space["type"] == "Discrete"
    matrix = weights(observation_space)
    inputs, outputs, nodes = [], [], []
    tables = {"weights": matrix, "flat_shape": np.array([0, -1], dtype=np.int64)}
    for name, space in _parts(observation_space).items():
        kind = np.dtype(space["dtype"])
        taken = TensorProto.FLOAT if kind.kind == "f" else helper.np_dtype_to_tensor_dtype(kind)
        inputs.append(helper.make_tensor_value_info(name, taken, ["batch", *space["shape"]]))
        shape = "column_shape" if not space["shape"] else "flat_shape"
        nodes.append(helper.make_node("Reshape", [name, shape], [f"{name}.flat"]))
        nodes.append(helper.make_node("Cast", [f"{name}.flat"], [f"{name}.numbers"], to=TensorProto.FLOAT))
    tables["column_shape"] = np.array([-1, 1], dtype=np.int64)
    numbers = [f"{name}.numbers" for name in _parts(observation_space)]
    nodes.append(helper.make_node("Concat", numbers, ["numbers"], axis=1))
    nodes.append(helper.make_node("MatMul", ["numbers", "weights"], ["scores"]))
    scores = "scores"
    if remembers:
        tables["half"] = np.array(0.5, dtype=np.float32)
        inputs.append(helper.make_tensor_value_info("state", TensorProto.FLOAT, ["batch", 2]))
        nodes.append(helper.make_node("Mul", ["state", "half"], ["faded"]))
        nodes.append(helper.make_node("Add", ["faded", scores], ["next_state"]))
        outputs.append(helper.make_tensor_value_info("next_state", TensorProto.FLOAT, ["batch", 2]))
        scores = "next_state"
    if masked:
        tables["lowest"] = np.array(-1e30, dtype=np.float32)
        inputs.append(helper.make_tensor_value_info("action_mask", TensorProto.BOOL, ["batch", 2]))
        nodes.append(helper.make_node("Where", ["action_mask", scores, "lowest"], ["masked"]))
        scores = "masked"
    if noise:
        tables["noise"] = np.zeros((1, 2), dtype=np.float32)
        inputs.append(helper.make_tensor_value_info("noise", TensorProto.FLOAT, ["noises", 2]))
        nodes.append(helper.make_node("Add", [scores, "noise"], ["noisy"]))
        scores = "noisy"
    if discrete:
        nodes.append(helper.make_node("ArgMax", [scores], ["action"], axis=1, keepdims=0))
    else:
        nodes.append(helper.make_node("Identity", [scores], ["action"]))
    kind_of_action = TensorProto.INT64 if discrete else TensorProto.FLOAT
    outputs.append(helper.make_tensor_value_info("action", kind_of_action, ["batch", *action_space["shape"]]))
    initializers = [numpy_helper.from_array(table, name) for name, table in tables.items()]
    graph = helper.make_graph(nodes, "policy", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def _parts(space: dict[str, Any]) -> dict[str, dict[str, Any]]:
    if space["type"] == "Dict":
        return {f"observation.{key}": part for key, part in space["spaces"].items()}
    return {"observation": space}


def _flat(observation: Any, space: dict[str, Any]) -> NDArray[np.float32]:
    if space["type"] == "Dict":
        return np.concatenate([_flat(observation[key], part) for key, part in space["spaces"].items()])
    return np.array(observation, dtype=np.float32).ravel()

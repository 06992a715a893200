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

OBSERVATION_SPACES: dict[str, dict[str, Any]] = {
    "box": CARTPOLE,
    "image": {"type": "Box", "shape": [2, 3, 1], "dtype": "uint8", "low": 0, "high": 255},
    "discrete": {"type": "Discrete", "shape": [], "dtype": "int64", "n": 16, "start": 0},
    "multidiscrete": {"type": "MultiDiscrete", "shape": [3], "dtype": "int64", "nvec": [2, 5, 3]},
    "multibinary": {"type": "MultiBinary", "shape": [4], "dtype": "int8"},
}
VALID: dict[str, list[Any]] = {
    "box": [[0.1, -0.2, 0.03, 1], [-1, 2.5, 0, 1e-3], [0, 0, 0, 0]],
    "image": [[[[0], [255], [1]], [[2], [3], [4]]], [[[9], [8], [7]], [[6], [5], [4]]]],
    "discrete": [0, 15, 7],
    "multidiscrete": [[0, 0, 0], [1, 4, 2], [1, 2, 0]],
    "multibinary": [[0, 1, 1, 0], [1, 1, 1, 1]],
}


def weights(observation_space: dict[str, Any], outputs: int = 2) -> NDArray[np.float32]:
    """Fixed weights `[inputs, outputs]`, different in every place."""
    inputs = int(np.prod(observation_space["shape"], dtype=int))
    rows = np.sin(np.arange(1, inputs * outputs + 1, dtype=np.float32))
    return rows.reshape(inputs, outputs).astype(np.float32)


def expected_actions(
    observations: list[Any], observation_space: dict[str, Any], action_space: dict[str, Any]
) -> list[Any]:
    """What the policy must answer, computed without ONNX."""
    outputs = 2
    flat = np.array(observations, dtype=np.float32).reshape(len(observations), -1)
    scores = flat @ weights(observation_space, outputs)
    actions: list[Any] = (scores.argmax(axis=1) if action_space["type"] == "Discrete" else scores).tolist()
    return actions


def write_model(
    folder: Path,
    *,
    observation_space: dict[str, Any] = CARTPOLE,
    action_space: dict[str, Any] = TWO_ACTIONS,
    observations: list[Any] | None = None,
) -> Path:
    """A complete model folder whose golden actions are right."""
    folder.mkdir(parents=True, exist_ok=True)
    observations = VALID["box"] if observations is None else observations
    onnx.save(_graph(observation_space, action_space), folder / "policy.onnx")
    policy = {
        "format": 1,
        "run_id": "tiny-000000000000",
        "algorithm": "ppo",
        "environment": {"id": "CartPole-v1", "kwargs": {}},
        "observation_space": observation_space,
        "action_space": action_space,
        "versions": {},
        "verdict": {},
    }
    golden = {
        "observations": observations,
        "actions": expected_actions(observations, observation_space, action_space),
    }
    (folder / "policy.json").write_text(json.dumps(policy))
    (folder / "golden.json").write_text(json.dumps(golden))
    return folder


def _graph(observation_space: dict[str, Any], action_space: dict[str, Any]) -> onnx.ModelProto:
    discrete = action_space["type"] == "Discrete"
    kind = np.dtype(observation_space["dtype"])
    taken = TensorProto.FLOAT if kind.kind == "f" else helper.np_dtype_to_tensor_dtype(kind)
    matrix = weights(observation_space)
    nodes = [
        helper.make_node("Reshape", ["observation", "flat_shape"], ["flat"]),
        helper.make_node("Cast", ["flat"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["numbers", "weights"], ["scores" if discrete else "action"]),
    ]
    if discrete:
        nodes.append(helper.make_node("ArgMax", ["scores"], ["action"], axis=1, keepdims=0))
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info("observation", taken, ["batch", *observation_space["shape"]])],
        [
            helper.make_tensor_value_info(
                "action", TensorProto.INT64 if discrete else TensorProto.FLOAT, ["batch", *action_space["shape"]]
            )
        ],
        [
            numpy_helper.from_array(matrix, "weights"),
            numpy_helper.from_array(np.array([-1, matrix.shape[0]], dtype=np.int64), "flat_shape"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model

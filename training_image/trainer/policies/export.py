"""A trained policy as ONNX: what is served."""

import io
import warnings
from typing import Any

import numpy as np
import onnx
import torch
from gymnasium import spaces
from onnx import numpy_helper
from torch.jit._trace import TracerWarning

from contract.policy import (
    ACTION_OUTPUT,
    MASK_INPUT,
    NOISE_INPUT,
    OBSERVATION_INPUT,
    STATE_INPUT,
    STATE_OUTPUT,
    observation_input,
)
from training_image.trainer.envs import observations
from training_image.trainer.envs.observations import Tensors
from training_image.trainer.policies.graph import PolicyGraph

OPSET = 17


def to_onnx(graph: PolicyGraph, observation_space: spaces.Space[Any]) -> bytes:
    """The graph with the inputs that `contract.policy.observation_inputs` names and `action` as its output, all of any
    batch size; and besides what else the policy needs: its memory as `state` and `next_state`, `action_mask`, and
    `noise`, which is zero where it is not given."""
    sample = observations.as_input(observation_space.sample(), observation_space)
    example = observations.inputs(observations.each(lambda array: np.stack([array, array]), sample))
    given = {name: torch.as_tensor(array) for name, array in example.items()}
    outputs = [ACTION_OUTPUT]
    if graph.memory:
        given[STATE_INPUT] = torch.zeros(2, graph.memory)
        outputs.append(STATE_OUTPUT)
    if graph.choices:
        given[MASK_INPUT] = torch.ones(2, graph.choices, dtype=torch.bool)
    if graph.noise:
        given[NOISE_INPUT] = torch.zeros(2, graph.noise_size)
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        # The exporter that torch recommends instead takes 6 s for a network that this one exports in 0.2 s.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", UserWarning)  # of a memory it warns that the batch size may be fixed; it is not
        warnings.simplefilter("ignore", TracerWarning)  # the shapes it warns of are fixed by the spaces
        torch.onnx.export(
            _Exported(graph, list(sample) if isinstance(sample, dict) else None, list(given)),
            tuple(given.values()),
            buffer,  # type: ignore[arg-type]  # the exporter chosen here takes a file too
            dynamo=False,
            opset_version=OPSET,
            input_names=list(given),
            output_names=outputs,
            dynamic_axes={name: {0: "batch"} for name in (*given, *outputs)},
        )
    return _without_noise(buffer.getvalue(), graph.noise_size) if graph.noise else buffer.getvalue()


class _Exported(torch.nn.Module):
    """A graph that is given everything one by one: ONNX knows no dictionaries, and no arguments that are left out."""

    def __init__(self, graph: PolicyGraph, keys: list[str] | None, names: list[str]) -> None:
        super().__init__()
        self._graph = graph
        self._keys = keys
        self._names = names

    def forward(self, *given: torch.Tensor) -> Any:
        named = dict(zip(self._names, given, strict=True))
        if self._keys is None:
            observation: Tensors = named[OBSERVATION_INPUT]
        else:
            observation = {key: named[observation_input(key)] for key in self._keys}
        actions, memory = self._graph(observation, *map(named.get, (STATE_INPUT, MASK_INPUT, NOISE_INPUT)))
        return actions if memory is None else (actions, memory)


def _without_noise(model: bytes, size: int) -> bytes:
    """The model with zeros in place of noise that is not given, for however many observations."""
    proto = onnx.load_from_string(model)
    proto.graph.initializer.append(numpy_helper.from_array(np.zeros((1, size), dtype=np.float32), NOISE_INPUT))
    [node] = [node for node in proto.graph.input if node.name == NOISE_INPUT]
    node.type.tensor_type.shape.dim[0].dim_param = "noises"
    content: bytes = proto.SerializeToString()
    return content

"""A trained policy as ONNX: what is served."""

import io
import warnings
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch.jit._trace import TracerWarning

from contract.policy import ACTION_OUTPUT, MASK_INPUT, STATE_INPUT, STATE_OUTPUT
from training_image.trainer import observations
from training_image.trainer.graph import MaskedGraph, PolicyGraph, RecurrentGraph

OPSET = 17


def to_onnx(graph: PolicyGraph, observation_space: spaces.Space[Any]) -> bytes:
    """The graph with the inputs that `contract.policy.observation_inputs` names and `action` as its output, all of any
    batch size; and besides what else the policy needs: `action_mask`, or its memory as `state` and `next_state`."""
    sample = observations.as_input(observation_space.sample(), observation_space)
    example = observations.inputs(observations.each(lambda array: np.stack([array, array]), sample))
    arguments = tuple(map(torch.as_tensor, example.values()))
    inputs, outputs = list(example), [ACTION_OUTPUT]
    if isinstance(graph, RecurrentGraph):
        arguments += (torch.zeros(2, graph.memory),)
        inputs.append(STATE_INPUT)
        outputs.append(STATE_OUTPUT)
    if isinstance(graph, MaskedGraph):
        arguments += (torch.ones(2, graph.choices, dtype=torch.bool),)
        inputs.append(MASK_INPUT)
    module = _ByPart(graph, list(sample)) if isinstance(sample, dict) else graph
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        # The exporter that torch recommends instead takes 6 s for a network that this one exports in 0.2 s.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", UserWarning)  # of a memory it warns that the batch size may be fixed; it is not
        warnings.simplefilter("ignore", TracerWarning)  # the shapes it warns of are fixed by the spaces
        torch.onnx.export(
            module,
            arguments,
            buffer,  # type: ignore[arg-type]  # the exporter chosen here takes a file too
            dynamo=False,
            opset_version=OPSET,
            input_names=inputs,
            output_names=outputs,
            dynamic_axes={name: {0: "batch"} for name in (*inputs, *outputs)},
        )
    return buffer.getvalue()


class _ByPart(torch.nn.Module):
    """A graph that is given the parts of a Dict one by one: ONNX knows no dictionaries."""

    def __init__(self, graph: PolicyGraph, keys: list[str]) -> None:
        super().__init__()
        self._graph = graph
        self._keys = keys

    def forward(self, *given: torch.Tensor) -> Any:
        count = len(self._keys)
        return self._graph(dict(zip(self._keys, given[:count], strict=True)), *given[count:])

"""A trained policy as ONNX: what is served."""

import io
import warnings

import torch
from gymnasium import spaces
from torch.jit._trace import TracerWarning

from contract.policy import ACTION_OUTPUT, MASK_INPUT, OBSERVATION_INPUT, STATE_INPUT, STATE_OUTPUT
from training_image.trainer.graph import MaskedGraph, PolicyGraph, RecurrentGraph, input_dtype

OPSET = 17


def to_onnx(graph: PolicyGraph, observation_space: "spaces.Space[object]") -> bytes:
    """The graph with `observation` as its input and `action` as its output, both of any batch size; and besides
    what else the policy needs: `action_mask`, or its memory as `state` and `next_state`."""
    example = torch.as_tensor(observation_space.sample()).to(_torch_dtype(observation_space))
    arguments: tuple[torch.Tensor, ...] = (torch.stack([example, example]),)
    inputs, outputs = [OBSERVATION_INPUT], [ACTION_OUTPUT]
    if isinstance(graph, RecurrentGraph):
        arguments += (torch.zeros(2, graph.memory),)
        inputs.append(STATE_INPUT)
        outputs.append(STATE_OUTPUT)
    if isinstance(graph, MaskedGraph):
        arguments += (torch.ones(2, graph.choices, dtype=torch.bool),)
        inputs.append(MASK_INPUT)
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        # The exporter that torch recommends instead takes 6 s for a network that this one exports in 0.2 s.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", UserWarning)  # of a memory it warns that the batch size may be fixed; it is not
        warnings.simplefilter("ignore", TracerWarning)  # the shapes it warns of are fixed by the spaces
        torch.onnx.export(
            graph,
            arguments,
            buffer,  # type: ignore[arg-type]  # the exporter chosen here takes a file too
            dynamo=False,
            opset_version=OPSET,
            input_names=inputs,
            output_names=outputs,
            dynamic_axes={name: {0: "batch"} for name in (*inputs, *outputs)},
        )
    return buffer.getvalue()


def _torch_dtype(space: "spaces.Space[object]") -> torch.dtype:
    dtype: torch.dtype = getattr(torch, input_dtype(space).name)
    return dtype

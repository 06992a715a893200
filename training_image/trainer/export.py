"""A trained policy as ONNX: what is served."""

import io
import warnings

import torch
from gymnasium import spaces
from torch.jit._trace import TracerWarning

from contract.policy import ACTION_OUTPUT, OBSERVATION_INPUT
from training_image.trainer.graph import PolicyGraph, input_dtype

OPSET = 17


def to_onnx(graph: PolicyGraph, observation_space: "spaces.Space[object]") -> bytes:
    """The graph with `observation` as its input and `action` as its output, both of any batch size."""
    example = torch.as_tensor(observation_space.sample()).to(_torch_dtype(observation_space))
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        # The exporter that torch recommends instead takes 6 s for a network that this one exports in 0.2 s.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", TracerWarning)  # the shapes it warns of are fixed by the spaces
        torch.onnx.export(
            graph,
            (torch.stack([example, example]),),
            buffer,  # type: ignore[arg-type]  # the exporter chosen here takes a file too
            dynamo=False,
            opset_version=OPSET,
            input_names=[OBSERVATION_INPUT],
            output_names=[ACTION_OUTPUT],
            dynamic_axes={OBSERVATION_INPUT: {0: "batch"}, ACTION_OUTPUT: {0: "batch"}},
        )
    return buffer.getvalue()


def _torch_dtype(space: "spaces.Space[object]") -> torch.dtype:
    dtype: torch.dtype = getattr(torch, input_dtype(space).name)
    return dtype

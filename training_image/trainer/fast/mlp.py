"""A plain network in numpy: linear layers, with an activation between any two of them."""

import numpy as np
import torch

from training_image.trainer.fast.adam import Floats

Layers = list[tuple[Floats, Floats]]
"""Of each layer the weight `[outputs, inputs]` and the bias `[outputs]`."""


class Mlp:
    """What a network says of observations, and how a loss changes with its weights."""

    def __init__(self, layers: Layers, *, rectified: bool) -> None:
        """:param rectified: whether the activation is ReLU; otherwise it is tanh."""
        self._layers, self._rectified = layers, rectified
        self._widths = [len(bias) for _, bias in layers]
        self._activations: dict[int, list[Floats]] = {}
        self._deltas: dict[int, list[Floats]] = {}
        self._inputs: Floats

    def outputs(self, observations: Floats) -> Floats:
        """Outputs `[batch, outputs]` for `[batch, inputs]`."""
        return self._through(observations, [np.empty((len(observations), width), np.float32) for width in self._widths])

    def forward(self, observations: Floats) -> Floats:
        """The same, in memory that the next call for as many overwrites. Keeps what `backward` needs until then."""
        batch = len(observations)
        if batch not in self._activations:
            self._activations[batch] = [np.empty((batch, width), np.float32) for width in self._widths]
        self._inputs = observations
        return self._through(observations, self._activations[batch])

    def backward(self, d_outputs: Floats, gradients: Layers) -> None:
        """Write the loss's gradient by every weight, given that by what `forward` returned last."""
        batch = len(d_outputs)
        if batch not in self._deltas:
            self._deltas[batch] = [np.empty((batch, width), np.float32) for width in self._widths[:-1]]
        computed, deltas, delta = self._activations[batch], self._deltas[batch], d_outputs
        for number in range(len(self._layers) - 1, -1, -1):
            inputs = computed[number - 1] if number else self._inputs
            d_weight, d_bias = gradients[number]
            np.matmul(delta.T, inputs, out=d_weight)
            np.sum(delta, axis=0, out=d_bias)
            if number:
                np.matmul(delta, self._layers[number][0], out=deltas[number - 1])
                delta = deltas[number - 1]
                if self._rectified:
                    delta *= inputs > 0
                else:
                    delta -= delta * inputs * inputs

    def _through(self, inputs: Floats, computed: list[Floats]) -> Floats:
        """Compute every layer into memory that there is for it."""
        for (weight, bias), outputs in zip(self._layers, computed, strict=True):
            np.matmul(inputs, weight.T, out=outputs)
            outputs += bias
            if outputs is not computed[-1]:
                if self._rectified:
                    np.maximum(outputs, 0, out=outputs)
                else:
                    np.tanh(outputs, out=outputs)
            inputs = outputs
        return inputs


def linear_layers(net: torch.nn.Module) -> list[torch.nn.Linear]:
    """The linear layers of a sequence in which every other one is an activation."""
    return [layer for layer in net.children() if isinstance(layer, torch.nn.Linear)]


def shared_layers(net: torch.nn.Module) -> Layers:
    """The layers of a network, on the memory that torch's parameters have now."""
    return [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in linear_layers(net)]


def cut(vector: Floats, layers: Layers) -> Layers:
    """A vector with a number for each weight and bias of these layers, in their order, cut into their shapes."""
    parts, start = [], 0
    for weight, bias in layers:
        middle = start + weight.size
        parts.append((vector[start:middle].reshape(weight.shape), vector[middle : middle + bias.size]))
        start = middle + bias.size
    return parts


def unsupported_mlp(net: torch.nn.Module) -> str | None:
    """Why a network is none that `Mlp` computes."""
    parts = list(net.children())
    linear, between = parts[::2], parts[1::2]
    if len(parts) != 2 * len(linear) - 1 or any(type(layer) is not torch.nn.Linear for layer in linear):
        return "its network is more than linear layers and activations"
    if any(layer.bias is None for layer in linear):
        return "its network has a layer without a bias"
    kinds = {type(layer) for layer in between}
    if len(kinds) > 1 or not kinds <= {torch.nn.Tanh, torch.nn.ReLU}:
        return "its activation is neither tanh nor ReLU"
    return None

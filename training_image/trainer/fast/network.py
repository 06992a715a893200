"""Actor and critic of an MLP policy as one network in numpy.

Both have the same hidden widths, so each hidden layer of the two is one matrix product: the first layer sees the same
observations in both and is one wide layer, the later ones are a batch of two.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from stable_baselines3.common.policies import ActorCriticPolicy

from training_image.trainer.fast.adam import FlatAdam, Floats
from training_image.trainer.fast.mlp import linear_layers

ACTOR, CRITIC = 0, 1


@dataclass(frozen=True)
class _Hidden:
    """A hidden layer of both: `weight` is [2 * width, inputs] in the first layer, [2, width, inputs] in later ones."""

    weight: Floats
    bias: Floats


@dataclass(frozen=True)
class _Views:
    """A flat vector, cut into the shapes of the network."""

    hidden: list[_Hidden]
    actor_weight: Floats
    actor_bias: Floats
    critic_weight: Floats
    critic_bias: Floats
    log_std: Floats | None


class _Workspace:
    """Memory for one batch size. Each array is kept as it is computed and as [2, batch, width]."""

    def __init__(self, batch: int, widths: list[int]) -> None:
        self.activations = [_paired(batch, width, layer) for layer, width in enumerate(widths)]
        self.deltas = [_paired(batch, width, layer) for layer, width in enumerate(widths)]
        self.slopes = [np.empty_like(computed) for computed, _ in self.deltas]
        self.ones = np.ones((1, batch), np.float32)


class Network:
    """The parameters of a policy, what they say of observations, and how they learn (`adam`)."""

    def __init__(self, policy: ActorCriticPolicy) -> None:
        """`policy` must be one that `unsupported` has nothing against."""
        actor, critic = (
            linear_layers(net) for net in (policy.mlp_extractor.policy_net, policy.mlp_extractor.value_net)
        )
        members: list[torch.Tensor] = []
        for ours, theirs in zip(actor, critic, strict=True):
            members += [ours.weight, theirs.weight, ours.bias, theirs.bias]
        members += [*policy.action_net.parameters(), *policy.value_net.parameters()]
        log_std = getattr(policy, "log_std", None)
        if log_std is not None:
            members.append(log_std)
        self._widths = [layer.out_features for layer in actor]
        self._inputs = [layer.in_features for layer in actor]
        self.score_count = len(policy.action_net.bias)  # type: ignore[arg-type]  # a Linear layer, `unsupported` has seen to it
        self._has_log_std = log_std is not None
        self._rectified = isinstance(policy.mlp_extractor.policy_net[1], torch.nn.ReLU)
        self.adam = FlatAdam(members, policy.optimizer)
        self.weights = self._views(self.adam.weights)
        self.gradients = self._views(self.adam.gradient)
        self._workspaces: dict[int, _Workspace] = {}
        self._used: _Workspace
        self._observations: Floats

    def forward(self, observations: Floats) -> tuple[Floats, Floats]:
        """Scores `[scores, batch]` of the actor and values `[batch]` of the critic.

        Keeps what `backward` needs until the next call.
        """
        batch = len(observations)
        if (space := self._workspaces.get(batch)) is None:
            space = self._workspaces[batch] = _Workspace(batch, self._widths)
        self._used, self._observations = space, observations
        inputs = observations
        for hidden, (computed, paired) in zip(self.weights.hidden, space.activations, strict=True):
            np.matmul(inputs, hidden.weight.swapaxes(-1, -2), out=computed)
            computed += hidden.bias
            self._activate(computed)
            inputs = paired
        weights = self.weights
        scores = weights.actor_weight @ inputs[ACTOR].T
        scores += weights.actor_bias[:, None]
        values = inputs[CRITIC] @ weights.critic_weight
        values += weights.critic_bias
        return scores, values

    def values(self, observations: Floats) -> Floats:
        """What the critic alone says, for a batch of any size."""
        top, weights = self._top(observations, CRITIC), self.weights
        return np.asarray(top @ weights.critic_weight + weights.critic_bias)

    def scores(self, observations: Floats) -> Floats:
        """Scores `[scores, batch]` of the actor alone, for a batch of any size."""
        top, weights = self._top(observations, ACTOR), self.weights
        scores = weights.actor_weight @ top.T
        scores += weights.actor_bias[:, None]
        return scores

    def backward(self, d_scores: Floats, d_values: Floats) -> None:
        """The gradient of every weight, given the loss's gradients by what `forward` returned last, in its shapes.

        That of `log_std` is not the network's to know: `actions.Box` writes it.
        """
        space, weights, gradients = self._used, self.weights, self.gradients
        (_, top), (_, delta) = space.activations[-1], space.deltas[-1]
        np.matmul(d_scores, top[ACTOR], out=gradients.actor_weight)
        np.matmul(d_scores, space.ones[0], out=gradients.actor_bias)
        np.matmul(d_values, top[CRITIC], out=gradients.critic_weight)
        gradients.critic_bias[0] = d_values.sum()
        np.matmul(d_scores.T, weights.actor_weight, out=delta[ACTOR])
        np.multiply(d_values[:, None], weights.critic_weight, out=delta[CRITIC])
        for layer in range(len(self._widths) - 1, -1, -1):
            computed, paired = space.deltas[layer]
            computed *= self._slope(space.activations[layer][0], space.slopes[layer])
            gradient = gradients.hidden[layer]
            if layer == 0:
                np.matmul(computed.T, self._observations, out=gradient.weight)
                np.matmul(space.ones[0], computed, out=gradient.bias)
            else:
                np.matmul(paired.swapaxes(1, 2), space.activations[layer - 1][1], out=gradient.weight)
                np.matmul(space.ones, paired, out=gradient.bias)
                np.matmul(paired, weights.hidden[layer].weight, out=space.deltas[layer - 1][1])

    def _views(self, vector: Floats) -> _Views:
        """Cut a vector as `__init__` put the members together."""
        start = 0

        def take(*shape: int) -> Floats:
            nonlocal start
            part = vector[start : start + math.prod(shape)]
            start += part.size
            return part.reshape(shape)

        hidden = []
        for layer, (width, inputs) in enumerate(zip(self._widths, self._inputs, strict=True)):
            if layer == 0:
                hidden.append(_Hidden(take(2 * width, inputs), take(2 * width)))
            else:
                hidden.append(_Hidden(take(2, width, inputs), take(2, 1, width)))
        top, scores = self._widths[-1], self.score_count
        outputs = take(scores, top), take(scores), take(top), take(1)
        return _Views(hidden, *outputs, take(scores) if self._has_log_std else None)

    def _top(self, observations: Floats, side: int) -> Floats:
        """The last hidden layer of the actor or the critic."""
        inputs = observations
        for width, hidden in zip(self._widths, self.weights.hidden, strict=True):
            inputs = inputs @ hidden.weight.reshape(2, width, -1)[side].T + hidden.bias.reshape(2, -1)[side]
            self._activate(inputs)
        return inputs

    def _activate(self, sums: Floats) -> None:
        if self._rectified:
            np.maximum(sums, 0, out=sums)
        else:
            np.tanh(sums, out=sums)

    def _slope(self, activations: Floats, out: Floats) -> Floats:
        """The activation's derivative, by its value."""
        if self._rectified:
            return np.greater(activations, 0, out=out, casting="unsafe")
        np.multiply(activations, activations, out=out)
        return np.subtract(np.float32(1), out, out=out)


def _paired(batch: int, width: int, layer: int) -> tuple[Floats, Floats]:
    if layer == 0:
        wide = np.empty((batch, 2 * width), np.float32)
        return wide, wide.reshape(batch, 2, width).transpose(1, 0, 2)
    both = np.empty((2, batch, width), np.float32)
    return both, both

"""Adam on one flat vector, on memory that torch's parameters and its optimiser's state share."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from training_image.trainer.learning.optimiser import EagerAdam

Floats = npt.NDArray[np.float32]


class FlatAdam:
    """Weights, their gradient and Adam's moments, each one vector.

    From construction on torch's parameters and Adam's moments are views into this object's memory, so saving, loading
    and predicting are Stable-Baselines3's own. Whoever replaces the optimiser's state must build a new one.
    """

    def __init__(self, members: list[torch.Tensor], optimiser: torch.optim.Optimizer) -> None:
        """`members` are the optimiser's parameters in the order that they shall have in the vectors."""
        size = sum(member.numel() for member in members)
        self.weights: Floats = np.empty(size, np.float32)
        self.gradient: Floats = np.zeros(size, np.float32)
        self._moments = np.zeros((2, size), np.float32)
        self._scratch = np.empty((2, size), np.float32)
        self._group = optimiser.param_groups[0]
        self._counts = self._share(members, optimiser)
        self._updates = int(self._counts[0].item())

    def step(self, max_grad_norm: float | None) -> None:
        """Clip the gradient to a norm, if there is one, and move the weights. Nothing is left of the gradient."""
        gradient, (first, second), (scratch, change) = self.gradient, self._moments, self._scratch
        if max_grad_norm is not None:
            clip = max_grad_norm / (math.sqrt(float(gradient @ gradient)) + 1e-6)
            if clip < 1:
                gradient *= np.float32(clip)
        (beta1, beta2), rate, epsilon = self._group["betas"], self._group["lr"], self._group["eps"]
        self._updates += 1
        np.subtract(gradient, first, out=scratch)
        scratch *= np.float32(1 - beta1)
        first += scratch
        second *= np.float32(beta2)
        gradient *= gradient
        gradient *= np.float32(1 - beta2)
        second += gradient
        np.sqrt(second, out=scratch)
        scratch *= np.float32(1 / math.sqrt(1 - beta2**self._updates))
        scratch += np.float32(epsilon)
        np.divide(first, scratch, out=change)
        change *= np.float32(rate / (1 - beta1**self._updates))
        self.weights -= change

    def count_updates(self) -> None:
        """Tell torch's optimiser how many updates there were; its moments it shares already."""
        for count in self._counts:
            count.fill_(self._updates)

    def _share(self, members: list[torch.Tensor], optimiser: torch.optim.Optimizer) -> list[torch.Tensor]:
        """Move the parameters and Adam's state into our memory; returns the state's counts of updates."""
        counts, start = [], 0
        for member in members:
            place = slice(start, start + member.numel())
            start = place.stop
            state: dict[str, Any] = optimiser.state.get(member, {})
            self.weights[place] = member.detach().numpy().ravel()
            member.data = _tensor(self.weights[place], member)
            shared = {"step": state.get("step", torch.tensor(0.0))}
            for name, moment in zip(("exp_avg", "exp_avg_sq"), self._moments, strict=True):
                if name in state:
                    moment[place] = state[name].numpy().ravel()
                shared[name] = _tensor(moment[place], member)
            optimiser.state[member] = shared
            counts.append(shared["step"])
        return counts


def unsupported_optimiser(optimiser: torch.optim.Optimizer) -> str | None:
    """Why it is none that `FlatAdam` does the work of."""
    if type(optimiser) not in (torch.optim.Adam, EagerAdam) or len(optimiser.param_groups) != 1:
        return "its optimiser is not one Adam"
    group = optimiser.param_groups[0]
    if changed := [name for name in ("weight_decay", "amsgrad", "maximize") if group[name]]:
        return f"its optimiser has {', '.join(changed)}"
    return None


def _tensor(part: Floats, like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(part.reshape(like.shape))

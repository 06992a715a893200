"""The algorithms a run file may name, and the hyperparameters each takes.

A hyperparameter left out takes the tuned default of its environment (`training_image/hyperparameters/`).
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Schedule = Annotated[float, Field(gt=0)] | Annotated[str, Field(pattern=r"^lin_[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?$")]


class Hyperparameters(BaseModel):
    """What every algorithm takes. Names are those of Stable-Baselines3."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    n_envs: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None, description="Environments stepped side by side in one process."
    )
    learning_rate: Schedule | None = Field(
        default=None, description="Step size of the optimiser; `lin_3e-4` falls linearly to 0 over the run."
    )
    gamma: Fraction | None = Field(default=None, description="Discount factor.")
    net_arch: list[Annotated[int, Field(ge=1, le=4096)]] | None = Field(
        default=None, description="Widths of the hidden layers, for actor and critic alike."
    )
    activation: Literal["tanh", "relu"] | None = Field(default=None, description="Activation of the hidden layers.")
    normalize: bool | None = Field(
        default=None,
        description="Normalise observations by running mean and variance, in training and serving; "
        "in training rewards too. Box observations only.",
    )


class PPOHyperparameters(Hyperparameters):
    """Proximal Policy Optimization (Schulman et al., 2017, arXiv:1707.06347)."""

    n_steps: Positive | None = Field(default=None, description="Steps an environment takes between updates.")
    batch_size: Annotated[int, Field(ge=2)] | None = Field(default=None, description="Minibatch size of an update.")
    n_epochs: Positive | None = Field(default=None, description="Passes over the rollout in an update.")
    gae_lambda: Fraction | None = Field(
        default=None, description="Bias against variance in generalised advantage estimation."
    )
    clip_range: Schedule | None = Field(default=None, description="How far an update may move the policy.")
    ent_coef: Annotated[float, Field(ge=0)] | None = Field(default=None, description="Weight of the entropy bonus.")
    vf_coef: Annotated[float, Field(ge=0)] | None = Field(default=None, description="Weight of the value loss.")
    max_grad_norm: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Gradients are clipped to this norm."
    )
    use_sde: bool | None = Field(default=None, description="Explore by state-dependent noise (gSDE); Box actions only.")
    sde_sample_freq: Annotated[int, Field(ge=-1)] | None = Field(
        default=None, description="Steps between draws of that noise; -1 draws it once for each rollout."
    )
    log_std_init: float | None = Field(
        default=None, description="Initial logarithm of the actions' standard deviation; Box actions only."
    )
    ortho_init: bool | None = Field(default=None, description="Initialise the weights orthogonally.")


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """One algorithm: which Gymnasium spaces (by class name) it can act in and learn from, and what it takes."""

    name: str
    title: str
    action_spaces: frozenset[str]
    observation_spaces: frozenset[str]
    hyperparameters: type[Hyperparameters]


ALGORITHMS = {
    algorithm.name: algorithm
    for algorithm in (
        Algorithm(
            name="ppo",
            title="Proximal Policy Optimization",
            action_spaces=frozenset({"Discrete", "Box", "MultiDiscrete", "MultiBinary"}),
            observation_spaces=frozenset({"Box", "Discrete", "MultiDiscrete", "MultiBinary"}),
            hyperparameters=PPOHyperparameters,
        ),
    )
}


def algorithms_for(action_space: str) -> list[str]:
    """Names of the algorithms that can act in a Gymnasium action space, given its class name."""
    return sorted(name for name, algorithm in ALGORITHMS.items() if action_space in algorithm.action_spaces)

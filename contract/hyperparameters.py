"""The hyperparameters of each algorithm. Names and meanings are those of Stable-Baselines3 and sb3-contrib.

One left out takes the tuned value of its environment (`training_image/hyperparameters/`), so every field may be None.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
AboveZero = Annotated[float, Field(gt=0)]
Schedule = AboveZero | Annotated[str, Field(pattern=r"^lin_[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?$")]
EntropyCoefficient = Weight | Annotated[str, Field(pattern=r"^auto(_[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?)?$")]


class Hyperparameters(BaseModel):
    """What every algorithm takes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)

    n_envs: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None, description="Environments stepped side by side in one process."
    )
    learning_rate: Schedule | None = Field(
        default=None, description="Step size of the optimiser; `lin_3e-4` falls linearly to 0 over the run."
    )
    gamma: Fraction | None = Field(default=None, description="Discount factor.")


class NetworkHyperparameters(Hyperparameters):
    """What every algorithm with a network takes."""

    net_arch: list[Annotated[int, Field(ge=1, le=4096)]] | None = Field(
        default=None, description="Widths of the hidden layers, for actor and critic alike."
    )
    activation: Literal["tanh", "relu"] | None = Field(default=None, description="Activation of the hidden layers.")
    normalize: bool | None = Field(
        default=None,
        description="Normalise observations by running mean and variance, in training and serving; "
        "in training rewards too. For Box observations and the Box parts of Dict ones; pictures stay as they are.",
    )


class ActorCriticHyperparameters(NetworkHyperparameters):
    """What the algorithms take that improve a policy on its own fresh steps."""

    ent_coef: Weight | None = Field(default=None, description="Weight of the entropy bonus.")
    vf_coef: Weight | None = Field(default=None, description="Weight of the value loss.")
    max_grad_norm: AboveZero | None = Field(default=None, description="Gradients are clipped to this norm.")
    ortho_init: bool | None = Field(default=None, description="Initialise the weights orthogonally.")


class RolloutHyperparameters(ActorCriticHyperparameters):
    """Rollouts of fixed length, judged by generalised advantage estimation."""

    n_steps: Positive | None = Field(default=None, description="Steps an environment takes between updates.")
    gae_lambda: Fraction | None = Field(
        default=None, description="Bias against variance in generalised advantage estimation."
    )


class NoiseHyperparameters(Hyperparameters):
    """Exploration by state-dependent noise."""

    use_sde: bool | None = Field(default=None, description="Explore by state-dependent noise (gSDE); Box actions only.")
    sde_sample_freq: Annotated[int, Field(ge=-1)] | None = Field(
        default=None, description="Steps between draws of that noise; -1 draws it once for each rollout."
    )
    log_std_init: float | None = Field(
        default=None, description="Initial logarithm of the actions' standard deviation; Box actions only."
    )


class FastHyperparameters(Hyperparameters):
    """A path of our own through an algorithm's arithmetic."""

    fast: bool | None = Field(
        default=None,
        description="Train on the fast path where it gives the numbers of the library's own class; "
        "false always takes that class.",
    )


class A2CHyperparameters(RolloutHyperparameters, NoiseHyperparameters):
    """Advantage Actor-Critic."""

    use_rms_prop: bool | None = Field(
        default=None, description="Optimise by RMSprop, as in the paper, and not by Adam."
    )
    normalize_advantage: bool | None = Field(default=None, description="Scale the advantages of a rollout.")


class ClippedHyperparameters(RolloutHyperparameters):
    """What every form of PPO takes."""

    batch_size: Annotated[int, Field(ge=2)] | None = Field(default=None, description="Minibatch size of an update.")
    n_epochs: Positive | None = Field(default=None, description="Passes over the rollout in an update.")
    clip_range: Schedule | None = Field(default=None, description="How far an update may move the policy.")


class PPOHyperparameters(ClippedHyperparameters, NoiseHyperparameters, FastHyperparameters):
    """Proximal Policy Optimization."""


class MaskablePPOHyperparameters(ClippedHyperparameters):
    """PPO that never tries an action the environment calls invalid."""


class RecurrentPPOHyperparameters(ClippedHyperparameters, NoiseHyperparameters):
    """PPO with a long short-term memory."""

    lstm_hidden_size: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        default=None, description="Units of the memory."
    )
    n_lstm_layers: Annotated[int, Field(ge=1, le=8)] | None = Field(default=None, description="Layers of the memory.")
    enable_critic_lstm: bool | None = Field(
        default=None, description="Give the critic a memory of its own; otherwise it has a plain network."
    )


class ReinforceHyperparameters(ActorCriticHyperparameters):
    """REINFORCE, the plain policy gradient."""

    n_episodes: Positive | None = Field(
        default=None, description="Whole episodes each environment plays between updates."
    )
    normalize_advantage: bool | None = Field(default=None, description="Scale the advantages of an update.")
    log_std_init: float | None = Field(
        default=None, description="Initial logarithm of the actions' standard deviation; Box actions only."
    )


class ReplayHyperparameters(NetworkHyperparameters):
    """What the algorithms take that learn from remembered transitions."""

    buffer_size: Positive | None = Field(default=None, description="Transitions remembered.")
    batch_size: Positive | None = Field(default=None, description="Transitions an update learns from.")
    learning_starts: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Steps taken before the first update."
    )
    train_freq: Positive | None = Field(default=None, description="Steps each environment takes between updates.")
    gradient_steps: Annotated[int, Field(ge=-1)] | None = Field(
        default=None, description="Updates after each of those; -1 makes one for every step taken."
    )
    tau: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="How much of the trained network an update of the target network takes over."
    )


class GreedyHyperparameters(Hyperparameters):
    """Exploration by a share of random actions, which falls linearly."""

    exploration_fraction: Fraction | None = Field(
        default=None, description="Share of the run over which exploration falls to its final rate."
    )
    exploration_initial_eps: Fraction | None = Field(
        default=None, description="Share of random actions at the beginning."
    )
    exploration_final_eps: Fraction | None = Field(default=None, description="Share of random actions from then on.")


class DQNHyperparameters(ReplayHyperparameters, GreedyHyperparameters, FastHyperparameters):
    """Deep Q-Network."""

    target_update_interval: Positive | None = Field(
        default=None, description="Steps between updates of the target network."
    )
    max_grad_norm: AboveZero | None = Field(default=None, description="Gradients are clipped to this norm.")


class QRDQNHyperparameters(ReplayHyperparameters, GreedyHyperparameters, FastHyperparameters):
    """Quantile-Regression DQN."""

    target_update_interval: Positive | None = Field(
        default=None, description="Steps between updates of the target network."
    )
    n_quantiles: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None, description="Quantiles that describe a distribution of returns."
    )


class SACHyperparameters(ReplayHyperparameters, NoiseHyperparameters):
    """Soft Actor-Critic."""

    ent_coef: EntropyCoefficient | None = Field(
        default=None, description="Weight of the entropy; `auto` learns it, `auto_0.1` begins at 0.1."
    )
    n_critics: Annotated[int, Field(ge=1, le=16)] | None = Field(default=None, description="Critics trained.")


class TQCHyperparameters(SACHyperparameters):
    """Truncated Quantile Critics."""

    n_quantiles: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None, description="Quantiles that describe a distribution of returns, in each critic."
    )
    top_quantiles_to_drop_per_net: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Highest quantiles of each critic that are left out, against overestimation."
    )


class TD3Hyperparameters(ReplayHyperparameters):
    """Twin Delayed DDPG."""

    policy_delay: Positive | None = Field(default=None, description="Updates of the critics for each of the policy.")
    target_policy_noise: AboveZero | None = Field(
        default=None, description="Standard deviation of the noise on the target policy's actions."
    )
    target_noise_clip: AboveZero | None = Field(default=None, description="Most that this noise changes an action.")
    noise_type: Literal["none", "normal", "ornstein-uhlenbeck"] | None = Field(
        default=None, description="Noise on the actions taken in training."
    )
    noise_std: Weight | None = Field(
        default=None, description="Its standard deviation, where the actions are scaled to -1 to 1."
    )
    n_critics: Annotated[int, Field(ge=1, le=16)] | None = Field(default=None, description="Critics trained.")


class OfflineHyperparameters(NetworkHyperparameters):
    """What the algorithms take that learn from a log alone. A step of theirs is one update."""

    batch_size: Positive | None = Field(default=None, description="Transitions an update learns from.")
    max_grad_norm: AboveZero | None = Field(default=None, description="Gradients are clipped to this norm.")


class BCHyperparameters(OfflineHyperparameters):
    """Behaviour cloning."""


class IQLHyperparameters(OfflineHyperparameters):
    """Implicit Q-learning."""

    tau: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="How much of the trained critics an update of the target critics takes over."
    )
    expectile: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="0.5 values a state by what the log's actions brought on average there; nearer to 1, by the best.",
    )
    temperature: Weight | None = Field(
        default=None,
        description="How much more actions are cloned that were better than others, in standard deviations of the "
        "log's returns; 0 clones all alike.",
    )


class QLearningHyperparameters(GreedyHyperparameters):
    """Tabular Q-learning."""

    initial_value: float | None = Field(
        default=None, description="Value of every action in the beginning; a high one makes it try them all."
    )

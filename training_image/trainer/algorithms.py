"""The algorithms that can train, by the names of `contract.algorithms`.

Each builds a Stable-Baselines3 model from resolved hyperparameters. Checkpoints, resume, export and metrics work on
any of them, so a new algorithm is one entry here, one in the contract and one file of tuned hyperparameters.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv

from contract.algorithms import Hyperparameters, PPOHyperparameters
from training_image.trainer.optimiser import EagerAdam

T = TypeVar("T")
Build = Callable[..., BaseAlgorithm]


def build(algorithm: str, environment: VecEnv, hyperparameters: Hyperparameters, seed: int) -> BaseAlgorithm:
    """A fresh model of an algorithm, its weights drawn from `seed`."""
    torch.set_num_threads(1)  # see `threads`; here again, for a process that loaded torch before it
    return MODELS[algorithm](environment, hyperparameters, seed)


def rollout_steps(hyperparameters: Hyperparameters) -> int:
    """Environment steps between two updates, over all copies of the environment."""
    return (hyperparameters.n_envs or 1) * (getattr(hyperparameters, "n_steps", None) or 1)


def build_policy(observation_space: Any, action_space: Any, hyperparameters: Hyperparameters) -> ActorCriticPolicy:
    """The network alone, with fresh weights, to load trained ones into."""
    torch.set_num_threads(1)
    kwargs = _policy_kwargs(hyperparameters)
    kwargs["use_sde"] = getattr(hyperparameters, "use_sde", None) or False
    return ActorCriticPolicy(observation_space, action_space, lambda _: 0.0, **kwargs)


def _ppo(environment: VecEnv, hyperparameters: PPOHyperparameters, seed: int) -> PPO:
    h = hyperparameters
    return PPO(
        "MlpPolicy",
        environment,
        learning_rate=_schedule(h.learning_rate),
        n_steps=_set(h.n_steps),
        batch_size=_set(h.batch_size),
        n_epochs=_set(h.n_epochs),
        gamma=_set(h.gamma),
        gae_lambda=_set(h.gae_lambda),
        clip_range=_schedule(h.clip_range),
        ent_coef=_set(h.ent_coef),
        vf_coef=_set(h.vf_coef),
        max_grad_norm=_set(h.max_grad_norm),
        use_sde=_set(h.use_sde),
        sde_sample_freq=_set(h.sde_sample_freq),
        policy_kwargs=_policy_kwargs(h),
        seed=seed,
        device="cpu",
    )


MODELS: dict[str, Build] = {"ppo": _ppo}

_ACTIVATIONS = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}


def _policy_kwargs(hyperparameters: Hyperparameters) -> dict[str, Any]:
    """What Stable-Baselines3's policy takes beyond its spaces."""
    shared: dict[str, Any] = {
        "net_arch": _set(hyperparameters.net_arch),
        "activation_fn": _ACTIVATIONS[_set(hyperparameters.activation)],
        "optimizer_class": EagerAdam,
        # The epsilon is what Stable-Baselines3 gives Adam; one fused kernel updates all weights at once.
        "optimizer_kwargs": {"eps": 1e-5, "fused": True},
    }
    if isinstance(hyperparameters, PPOHyperparameters):
        shared |= {
            "log_std_init": _set(hyperparameters.log_std_init),
            "ortho_init": _set(hyperparameters.ortho_init),
        }
    return shared


def _schedule(given: float | str | None) -> float | Schedule:
    """`lin_x` as a schedule that reaches 0 with the last planned step and stays there: the last rollout overshoots,
    and a learning rate below 0 would unlearn."""
    if isinstance(given, str):
        return LinearSchedule(float(given.removeprefix("lin_")), 0.0, 1.0)
    return _set(given)


def _set(value: T | None) -> T:
    """A hyperparameter that resolving must have filled in."""
    if value is None:
        raise ValueError("a hyperparameter has no value; hyperparameters/<algorithm>.yaml needs it in `default`")
    return value

"""The algorithms that can train, by the names of `contract.algorithms`.

Hyperparameters have the names of Stable-Baselines3's own arguments, so a model is built by handing each to the one who
takes it: the algorithm or its policy. Checkpoints, resume, export and metrics work on any of them. A new algorithm is
one entry here, one in the contract, and one file of tuned hyperparameters.
"""

import importlib
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import ActionNoise, NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv

from contract.hyperparameters import Hyperparameters, NetworkHyperparameters, TD3Hyperparameters
from training_image.trainer.envs import images
from training_image.trainer.learning.optimiser import EagerAdam, EagerRMSprop

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Trainable:
    """Where an algorithm's classes are. They are imported when they are used: few trainings need all of them."""

    model: str
    policy: str


_ACTOR_CRITIC = "stable_baselines3.common.policies:ActorCriticPolicy"

MODELS = {
    "ppo": Trainable(model="training_image.trainer.fast.ppo:ppo", policy=_ACTOR_CRITIC),
    "a2c": Trainable(model="stable_baselines3:A2C", policy=_ACTOR_CRITIC),
    "reinforce": Trainable(model="training_image.trainer.learning.reinforce:Reinforce", policy=_ACTOR_CRITIC),
    "recurrent-ppo": Trainable(
        model="sb3_contrib:RecurrentPPO",
        policy="sb3_contrib.common.recurrent.policies:RecurrentActorCriticPolicy",
    ),
    "maskable-ppo": Trainable(
        model="sb3_contrib:MaskablePPO",
        policy="sb3_contrib.common.maskable.policies:MaskableActorCriticPolicy",
    ),
    "dqn": Trainable(model="training_image.trainer.fast.dqn:dqn", policy="stable_baselines3.dqn.policies:DQNPolicy"),
    "qrdqn": Trainable(
        model="training_image.trainer.fast.qrdqn:qrdqn", policy="sb3_contrib.qrdqn.policies:QRDQNPolicy"
    ),
    "sac": Trainable(model="stable_baselines3:SAC", policy="stable_baselines3.sac.policies:SACPolicy"),
    "td3": Trainable(model="stable_baselines3:TD3", policy="stable_baselines3.td3.policies:TD3Policy"),
    "tqc": Trainable(model="training_image.trainer.fast.tqc:FastTQC", policy="sb3_contrib.tqc.policies:TQCPolicy"),
    "q-learning": Trainable(
        model="training_image.trainer.learning.q_learning:QLearning",
        policy="training_image.trainer.learning.q_learning:QTable",
    ),
    "bc": Trainable(model="training_image.trainer.learning.offline:BehaviourCloning", policy=_ACTOR_CRITIC),
    "iql": Trainable(
        model="training_image.trainer.learning.offline:IQL", policy="training_image.trainer.learning.offline:IQLPolicy"
    ),
}


def build(algorithm: str, environment: VecEnv, hyperparameters: Hyperparameters, seed: int) -> BaseAlgorithm:
    """A fresh model of an algorithm, its weights drawn from `seed`."""
    torch.set_num_threads(1)  # see `threads`; here again, for a process that loaded torch before it
    trainable = MODELS[algorithm]
    arguments = {
        name: schedule(value) if name in _SCHEDULED else _set(value)
        for name, value in hyperparameters
        if name not in _POLICY_ARGUMENTS and name not in _OURS
    }
    if isinstance(hyperparameters, TD3Hyperparameters):
        arguments["action_noise"] = _noise(hyperparameters, environment)
    model: BaseAlgorithm = _load(trainable.model)(
        policy=_load(trainable.policy),
        env=environment,
        policy_kwargs=_policy_arguments(hyperparameters) | images.policy_arguments(environment.observation_space),
        seed=seed,
        device=images.device_for(environment.observation_space),
        **arguments,
    )
    return model


def build_policy(
    algorithm: str, observation_space: Any, action_space: Any, hyperparameters: Hyperparameters
) -> BasePolicy:
    """The policy alone, with fresh weights, to load trained ones into."""
    torch.set_num_threads(1)
    observation_space = images.as_network_sees(observation_space)
    arguments = _policy_arguments(hyperparameters) | images.policy_arguments(observation_space)
    if getattr(hyperparameters, "use_sde", None):
        arguments["use_sde"] = True
    policy: BasePolicy = _load(MODELS[algorithm].policy)(observation_space, action_space, lambda _: 0.0, **arguments)
    return policy


def rollout_steps(hyperparameters: Hyperparameters) -> int:
    """Environment steps between two updates, over all copies of the environment; 1 where that is not fixed."""
    each = getattr(hyperparameters, "n_steps", None) or getattr(hyperparameters, "train_freq", None) or 1
    return (hyperparameters.n_envs or 1) * int(each)


_SCHEDULED = ("learning_rate", "clip_range")
_OURS = ("n_envs", "normalize", "noise_type", "noise_std")
_POLICY_ARGUMENTS = {
    "net_arch": "net_arch",
    "activation": "activation_fn",
    "log_std_init": "log_std_init",
    "ortho_init": "ortho_init",
    "n_quantiles": "n_quantiles",
    "n_critics": "n_critics",
    "lstm_hidden_size": "lstm_hidden_size",
    "n_lstm_layers": "n_lstm_layers",
    "enable_critic_lstm": "enable_critic_lstm",
    "initial_value": "initial_value",
}
"""Hyperparameters that the policy takes, and what it calls them."""

_ACTIVATIONS = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}


def _policy_arguments(hyperparameters: Hyperparameters) -> dict[str, Any]:
    """What Stable-Baselines3's policy takes beyond its spaces."""
    arguments = {
        _POLICY_ARGUMENTS[name]: _ACTIVATIONS[_set(value)] if name == "activation" else _set(value)
        for name, value in hyperparameters
        if name in _POLICY_ARGUMENTS
    }
    if not isinstance(hyperparameters, NetworkHyperparameters):
        return arguments
    # The epsilons and the decay are those that Stable-Baselines3 gives its optimisers.
    if getattr(hyperparameters, "use_rms_prop", None):
        optimiser = {"optimizer_class": EagerRMSprop, "optimizer_kwargs": {"alpha": 0.99, "eps": 1e-5}}
    else:  # one fused kernel updates all weights at once
        epsilon = 1e-5 if hasattr(hyperparameters, "ortho_init") else 1e-8
        optimiser = {"optimizer_class": EagerAdam, "optimizer_kwargs": {"eps": epsilon, "fused": True}}
    return arguments | optimiser


def _noise(hyperparameters: TD3Hyperparameters, environment: VecEnv) -> ActionNoise | None:
    kinds = {"normal": NormalActionNoise, "ornstein-uhlenbeck": OrnsteinUhlenbeckActionNoise}
    kind = kinds.get(_set(hyperparameters.noise_type))
    shape = environment.action_space.shape
    assert shape is not None
    deviation = np.full(shape, _set(hyperparameters.noise_std), dtype=np.float32)
    return kind(np.zeros(shape, dtype=np.float32), deviation) if kind else None


def _load(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def schedule(given: float | str | None) -> float | Schedule:
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

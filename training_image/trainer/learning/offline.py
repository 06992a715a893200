"""Learning from a log alone, as Stable-Baselines3 algorithms: saved, resumed, exported and served like the rest.

A step is one update. Nobody acts while these learn; the environment says what the spaces are, and evaluates.
"""

import copy
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import get_flattened_obs_dim, preprocess_obs
from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.common.type_aliases import MaybeCallback, Schedule
from stable_baselines3.common.utils import polyak_update
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from training_image.trainer.errors import UsageError
from training_image.trainer.learning import logged
from training_image.trainer.learning.logged import Log

UPDATES_PER_ROLLOUT = 100
"""Callbacks are told of a rollout this often."""
CRITICS = 2
MOST_WEIGHT = 100.0


class Offline(BaseAlgorithm):
    """What they share: batches of the log, drawn at random."""

    policy: ActorCriticPolicy
    learns: ClassVar[list[str]] = ["policy", "policy.optimizer"]

    def __init__(self, *, gamma: float, batch_size: int, max_grad_norm: float, **arguments: Any) -> None:
        """`arguments` are those of `BaseAlgorithm`."""
        super().__init__(support_multi_env=True, **arguments)
        self.gamma, self.batch_size, self.max_grad_norm = gamma, batch_size, max_grad_norm
        self._log: Log | None = None
        self._setup_model()

    def study(self, log: Log) -> None:
        """Take the log to learn from."""
        self._log = log
        normaliser = self.get_vec_normalize_env()
        logged.observe(normaliser, log)
        if normaliser:
            normaliser.training = False  # the log's statistics are all there will be

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str = "run",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> "Offline":
        """Learn until `total_timesteps` updates are made or a callback says stop."""
        assert self._log is not None, "`study` comes first"
        total, told = self._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)
        told.on_training_start(locals(), globals())
        going = True
        while going and self.num_timesteps < total:
            told.on_rollout_start()
            self.policy.set_training_mode(True)
            losses: list[dict[str, float]] = []
            for _ in range(min(UPDATES_PER_ROLLOUT, total - self.num_timesteps)):
                self._update_current_progress_remaining(self.num_timesteps, self._total_timesteps)
                losses.append(self._update(self._log))
                self._n_updates += 1
                self.num_timesteps += 1
                going = told.on_step()
                if not going:
                    break
            for name in losses[0]:
                self.logger.record(f"train/{name}", float(np.mean([one[name] for one in losses])))
            told.on_rollout_end()
        told.on_training_end()
        return self

    def _update(self, log: Log) -> dict[str, float]:
        """Learn from one batch; the losses by their names."""
        raise NotImplementedError

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        self.policy = self.policy_class(  # type: ignore[assignment]
            self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs
        )
        self.policy = self.policy.to(self.device)

    def _descend(self, loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
        self._update_learning_rate(optimiser)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for group in optimiser.param_groups:
            torch.nn.utils.clip_grad_norm_(group["params"], self.max_grad_norm)
        optimiser.step()

    @property
    def _normaliser(self) -> VecNormalize | None:
        return self.get_vec_normalize_env()

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return self.learns, []


class BehaviourCloning(Offline):
    """Do what the log does."""

    def _update(self, log: Log) -> dict[str, float]:
        rows = np.random.randint(len(log), size=self.batch_size)
        observations = logged.inputs(log.observations[rows], self._normaliser)
        loss = logged.cloning_loss(self.policy, observations, logged.taken(log.actions[rows]))
        self._descend(loss, self.policy.optimizer)
        return {"policy_loss": loss.item()}


class IQLPolicy(ActorCriticPolicy):
    """An actor and the value of states, as they are, and the critics that they learn from."""

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        net_arch: list[int],
        activation_fn: type[torch.nn.Module],
        **arguments: Any,
    ) -> None:
        """`arguments` are those of `ActorCriticPolicy`."""
        super().__init__(
            observation_space, action_space, lr_schedule, net_arch=net_arch, activation_fn=activation_fn, **arguments
        )
        inputs = self.features_dim + get_flattened_obs_dim(action_space)
        self.critics = torch.nn.ModuleList(
            torch.nn.Sequential(*create_mlp(inputs, 1, net_arch, activation_fn)) for _ in range(CRITICS)
        )
        self.critics_target = copy.deepcopy(self.critics).requires_grad_(False)
        self.critic_optimizer = self.optimizer_class(
            self.critics.parameters(),
            lr=lr_schedule(1),  # type: ignore[call-arg]
            **self.optimizer_kwargs,
        )

    def judged(self, observations: Tensor, actions: Tensor, *, target: bool = False) -> Tensor:
        """What each critic says of actions, `[batch, CRITICS]`. Every kind of action is numbers to them."""
        with torch.no_grad():
            features = self.extract_features(observations)
            assert isinstance(features, Tensor)
            encoded = preprocess_obs(actions, self.action_space, normalize_images=False)
            assert isinstance(encoded, Tensor)
            if isinstance(self.action_space, spaces.Box):
                encoded = _scaled(encoded.reshape(len(encoded), -1), self.action_space)
            together = torch.cat([features, encoded.reshape(len(encoded), -1)], dim=1)
        critics = self.critics_target if target else self.critics
        return torch.cat([critic(together) for critic in critics], dim=1)


class IQL(Offline):
    """Kostrikov, Nair and Levine (2021). Values come from the log's own actions: what it lacks is not overestimated."""

    policy: IQLPolicy
    learns: ClassVar[list[str]] = ["policy", "policy.optimizer", "policy.critic_optimizer"]

    def __init__(self, *, tau: float, expectile: float, temperature: float, **arguments: Any) -> None:
        """`arguments` are those of `Offline`."""
        self.tau, self.expectile, self.temperature = tau, expectile, temperature
        self._scale = 1.0
        self._rows = np.zeros(0, dtype=np.int64)
        super().__init__(**arguments)

    def study(self, log: Log) -> None:
        """Take the log to learn from. Rewards are scaled so that its returns have a standard deviation of 1."""
        super().study(log)
        self._scale = 1 / max(float(log.outcomes(self.gamma).std()), 1e-8)
        self._rows = np.flatnonzero(log.follows)
        if not len(self._rows):
            raise UsageError(
                "data: of no transition it is known what came next, since each is the last of an episode that was cut "
                "short; log next_observation, or terminated where an episode ends"
            )

    def _update(self, log: Log) -> dict[str, float]:
        policy = self.policy
        rows = self._rows[np.random.randint(len(self._rows), size=self.batch_size)]
        observations = logged.inputs(log.observations[rows], self._normaliser)
        met = logged.inputs(log.next_observations[rows], self._normaliser)
        actions = torch.as_tensor(log.actions[rows])
        rewards = torch.as_tensor(log.rewards[rows]) * self._scale
        goes_on = torch.as_tensor(~log.terminated[rows]).float()
        with torch.no_grad():
            expected = policy.judged(observations, actions, target=True).min(dim=1).values
            target = rewards + self.gamma * goes_on * policy.predict_values(met).flatten()
        values, likely, _ = policy.evaluate_actions(observations, logged.taken(log.actions[rows]))
        advantage = expected - values.flatten()
        value_loss = (torch.where(advantage > 0, self.expectile, 1 - self.expectile) * advantage**2).mean()
        weights = torch.exp(self.temperature * advantage.detach()).clamp(max=MOST_WEIGHT)
        policy_loss = -(weights * likely).mean()
        self._descend(value_loss + policy_loss, policy.optimizer)
        judged = policy.judged(observations, actions)
        critic_loss = ((judged - target[:, None]) ** 2).mean()
        self._descend(critic_loss, policy.critic_optimizer)
        polyak_update(policy.critics.parameters(), policy.critics_target.parameters(), self.tau)
        return {"policy_loss": policy_loss.item(), "value_loss": value_loss.item(), "critic_loss": critic_loss.item()}


def _scaled(actions: Tensor, space: spaces.Box) -> Tensor:
    """Between -1 and 1 where there are bounds."""
    low, high = (torch.as_tensor(bound, dtype=torch.float32).flatten() for bound in (space.low, space.high))
    bounded = torch.isfinite(low) & torch.isfinite(high)
    return torch.where(bounded, 2 * (actions - low) / (high - low) - 1, actions)

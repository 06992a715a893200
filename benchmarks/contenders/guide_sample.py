"""The usual first program: Stable-Baselines3 on one environment. `--ours` gives it our hyperparameters and copies."""

import sys
from typing import Any

import gymnasium
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

OURS: dict[str, Any] = {
    "n_steps": 64,
    "batch_size": 512,
    "n_epochs": 4,
    "learning_rate": lambda left: 7e-3 * left,
    "clip_range": lambda left: 0.2 * left,
    "gamma": 0.98,
    "gae_lambda": 0.95,
    "max_grad_norm": 1.0,
    "policy_kwargs": {"net_arch": [32, 32]},
}


def main(seed: int, output: str, ours: bool) -> None:
    environment = make_vec_env("CartPole-v1", n_envs=32) if ours else gymnasium.make("CartPole-v1")
    model = PPO("MlpPolicy", environment, verbose=1, seed=seed, **(OURS if ours else {}))
    model.learn(total_timesteps=100_352 if ours else 100_000)
    model.save(f"{output}/ppo_cartpole")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], "--ours" in sys.argv)

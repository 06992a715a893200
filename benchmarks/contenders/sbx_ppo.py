"""SBX (Stable-Baselines3 in JAX) with its own defaults."""

import sys

import gymnasium
from sbx import PPO

if __name__ == "__main__":
    model = PPO("MlpPolicy", gymnasium.make("CartPole-v1"), seed=int(sys.argv[1]))
    model.learn(total_timesteps=100_000)
    model.save(f"{sys.argv[2]}/ppo_cartpole")

"""RLlib's PPO with its own defaults, sampling in the process that learns."""

import sys

from ray.rllib.algorithms.ppo import PPOConfig

if __name__ == "__main__":
    seed, output = int(sys.argv[1]), sys.argv[2]
    config = PPOConfig().environment("CartPole-v1").env_runners(num_env_runners=0).debugging(seed=seed)
    algorithm = config.build_algo()
    steps = 0
    while steps < 100_000:
        steps = int(algorithm.train()["num_env_steps_sampled_lifetime"])
    algorithm.save_to_path(f"{output}/rllib")
    algorithm.stop()

"""Tianshou's high-level PPO: 10 epochs of 10,000 steps in 10 copies, its own PPO parameters and test phases."""

import sys

from tianshou.highlevel.config import OnPolicyTrainingConfig
from tianshou.highlevel.env import EnvFactoryRegistered, VectorEnvType
from tianshou.highlevel.experiment import ExperimentConfig, PPOExperimentBuilder

if __name__ == "__main__":
    seed, output = int(sys.argv[1]), sys.argv[2]
    PPOExperimentBuilder(
        EnvFactoryRegistered(task="CartPole-v1", venv_type=VectorEnvType.DUMMY),
        ExperimentConfig(seed=seed, watch=False, persistence_base_dir=output),
        OnPolicyTrainingConfig(
            max_epochs=10,
            epoch_num_steps=10_000,
            num_training_envs=10,
            num_test_envs=10,
            batch_size=64,
            collection_step_num_env_steps=2_000,
            update_step_num_repetitions=10,
            buffer_size=20_000,
        ),
    ).build().run()

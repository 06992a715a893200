"""Observations scaled by their running mean and variance, and rewards by the variance of their returns."""

from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from training_image.trainer.envs.observations import parts


def normalised(environment: VecEnv, gamma: float) -> VecNormalize:
    """Rewards are scaled, and of the observations what are numbers; pictures and choices stay as they are."""
    numbers = [
        key
        for key, part in parts(environment.observation_space).items()
        if isinstance(part, spaces.Box) and not is_image_space(part)
    ]
    keys = None if None in numbers else [str(key) for key in numbers]
    return VecNormalize(environment, gamma=gamma, norm_obs=bool(numbers), norm_obs_keys=keys if numbers else None)

"""Observations that are pictures: a convolutional network sees them, on a GPU where there is one.

Environments give pictures with their colours last, networks want them first. Stable-Baselines3 turns them round between
the two in training; the exported graph does it inside.
"""

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
from stable_baselines3.common.torch_layers import CombinedExtractor, NatureCNN
from stable_baselines3.common.vec_env import VecTransposeImage

from training_image.trainer.envs.observations import parts


def are_pictures(space: spaces.Space[Any]) -> bool:
    """Whether observations of this space are, or have in them, pictures: bytes, with a height, a width and colours."""
    return any(is_image_space(part) for part in parts(space).values())


def have_colours_last(space: spaces.Space[Any]) -> bool:
    """Whether plain observations of this space are pictures that are turned round for the network."""
    return isinstance(space, spaces.Box) and is_image_space(space) and not is_image_space_channels_first(space)


def as_network_sees(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """The observation space of the policy, given the environment's."""
    if isinstance(space, spaces.Dict):
        return spaces.Dict([(key, as_network_sees(part)) for key, part in space.spaces.items()])
    return VecTransposeImage.transpose_space(space) if have_colours_last(space) else space  # type: ignore[arg-type]


def policy_arguments(space: spaces.Space[Any]) -> dict[str, Any]:
    """What a policy of Stable-Baselines3 needs besides to see pictures, or the parts of a Dict, of this space."""
    if isinstance(space, spaces.Dict):
        return {"features_extractor_class": CombinedExtractor}
    return {"features_extractor_class": NatureCNN} if are_pictures(space) else {}


def device_for(space: spaces.Space[Any]) -> str:
    """Where a policy is trained. A small network waits longer for a GPU than it computes on a CPU."""
    if not (are_pictures(space) and torch.cuda.is_available()):
        return "cpu"
    torch.use_deterministic_algorithms(True, warn_only=True)  # as far as CUDA has them, for exact resume
    return "cuda"

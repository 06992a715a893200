"""Registers the project's own environments and those of installed packages with Gymnasium, once, when this is imported.

A package names the function that registers them under the entry point `gymnasium.envs`; the entry's name becomes the
first half of their ids. Gymnasium itself looks at entry points no more.
"""

from contextlib import nullcontext
from importlib.metadata import entry_points

from gymnasium import logger
from gymnasium.envs.registration import namespace

from training_image import environments

environments.register()

for _point in entry_points(group="gymnasium.envs"):
    try:
        with nullcontext() if _point.name == "__root__" else namespace(_point.name):
            _point.load()()
    except Exception as error:  # whatever a package does wrong, the environments of others are not to blame
        logger.warn(f"the environments of {_point.value} could not be registered: {error}")

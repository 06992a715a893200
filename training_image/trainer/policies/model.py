"""The model folder: a trained policy in formats that cannot run code.

`policy.safetensors` the network's weights, `normaliser.safetensors` the observations' statistics if they are
normalised, `model.json` everything that says what these are.
"""

import json
import platform
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import stable_baselines3
import torch
from gymnasium import spaces as gymnasium_spaces
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from stable_baselines3.common.base_class import BaseAlgorithm

from contract.algorithms import ALGORITHMS
from training_image.trainer.envs import environments, spaces
from training_image.trainer.errors import UsageError
from training_image.trainer.learning.algorithms import build_policy
from training_image.trainer.plan import Plan
from training_image.trainer.policies.graph import PolicyGraph, graph_of
from training_image.trainer.recovery.state import capture_normaliser
from training_image.trainer.storage import Storage

WEIGHTS = "policy.safetensors"
NORMALISER = "normaliser.safetensors"
DOCUMENT = "model.json"


@dataclass(frozen=True, kw_only=True)
class TrainedPolicy:
    """A policy read back. `document` is its model.json."""

    graph: PolicyGraph
    observation_space: "gymnasium_spaces.Space[Any]"
    document: dict[str, Any]


def write(storage: Storage, model: BaseAlgorithm, plan: Plan) -> None:
    """Write the model folder. model.json comes last: with it the folder is complete."""
    weights = {name: tensor.detach().cpu().clone() for name, tensor in model.policy.state_dict().items()}
    storage.write(WEIGHTS, save_tensors(weights))
    normaliser = model.get_vec_normalize_env()
    if normaliser:
        storage.write(NORMALISER, capture_normaliser(normaliser))
    document = {
        "format": 1,
        "run_id": plan.run_id,
        "seed": plan.seed,
        "algorithm": plan.specification.algorithm.name,
        "environment": plan.specification.environment.model_dump(),
        "observation_space": spaces.describe_observed(environments.observed(model)),
        "action_space": spaces.describe(model.action_space),
        "hyperparameters": plan.hyperparameters.model_dump(),
        "normalised": normaliser is not None,
        "timesteps": model.num_timesteps,
        "versions": versions(),
    }
    storage.write(DOCUMENT, json.dumps(document, indent=1).encode())


def read(storage: Storage) -> TrainedPolicy:
    """Read a model folder.

    Raises:
        UsageError: when it is not there, not complete, or not of this version.
    """
    content = storage.read(DOCUMENT)
    weights = storage.read(WEIGHTS)
    if content is None or weights is None:
        raise UsageError(f"there is no trained policy at {storage.uri}: it needs {DOCUMENT} and {WEIGHTS}")
    try:
        document = json.loads(content)
        hyperparameters = ALGORITHMS[document["algorithm"]].hyperparameters.model_validate(document["hyperparameters"])
        observation_space = spaces.build_observed(document["observation_space"])
        action_space = spaces.build(document["action_space"])
        policy = build_policy(document["algorithm"], observation_space, action_space, hyperparameters)
        policy.load_state_dict(load_tensors(weights))
        normaliser = storage.read(NORMALISER) if document["normalised"] else None
        graph = graph_of(policy, None if normaliser is None else load_tensors(normaliser), observation_space)
    except Exception as error:
        raise UsageError(f"the trained policy at {storage.uri} cannot be read: {error!r}") from error
    if document["normalised"] and normaliser is None:
        raise UsageError(f"the trained policy at {storage.uri} lacks {NORMALISER}")
    return TrainedPolicy(graph=graph, observation_space=observation_space, document=document)


def versions() -> dict[str, str]:
    """Versions of what decides the outcome of a training."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "stable_baselines3": stable_baselines3.__version__,
        "gymnasium": gymnasium.__version__,
        "numpy": np.__version__,
    }

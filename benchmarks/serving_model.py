"""The policy that serving is measured with: CartPole's, two layers of 64, as training exports it."""

import json
from pathlib import Path

import numpy as np
import torch
from stable_baselines3 import PPO

from contract.policy import GOLDEN_DOCUMENT, POLICY_DOCUMENT, POLICY_GRAPH, Policy
from training_image.trainer.envs import spaces
from training_image.trainer.policies import input_statistics
from training_image.trainer.policies.export import to_onnx
from training_image.trainer.policies.graph import PolicyGraph

OBSERVATION_SIZE = 4
STABLE_BASELINES3 = "policy.zip"


def write_model(folder: Path) -> Path:
    """A model folder; besides, the same policy as Stable-Baselines3 has it, for others to serve."""
    folder.mkdir(parents=True)
    model = PPO("MlpPolicy", "CartPole-v1", seed=0, device="cpu", policy_kwargs={"net_arch": [64, 64]})
    with torch.no_grad():
        model.policy.action_net.weight.mul_(100)  # type: ignore[operator]  # its choices are far apart
    graph = PolicyGraph(model.policy, None, model.observation_space)
    observations = np.random.default_rng(0).normal(size=(1000, OBSERVATION_SIZE)).astype(np.float32)
    document = Policy(
        format=1,
        run_id="benchmark-000000000000",
        algorithm="ppo",
        environment={"id": "CartPole-v1", "kwargs": {}},
        observation_space=spaces.describe(model.observation_space),
        action_space=spaces.describe(model.action_space),
        versions={},
        verdict={},
        noise=graph.noise,
        statistics=input_statistics.describe(observations),
    )
    golden = {"observations": observations[:32].tolist(), "actions": graph.act(observations[:32]).tolist()}
    (folder / POLICY_GRAPH).write_bytes(to_onnx(graph, model.observation_space))
    (folder / POLICY_DOCUMENT).write_text(json.dumps(document))
    (folder / GOLDEN_DOCUMENT).write_text(json.dumps(golden))
    model.save(folder / STABLE_BASELINES3)
    return folder

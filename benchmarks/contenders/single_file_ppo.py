"""PPO in a single file, as CleanRL teaches it, with the hyperparameters of its ppo.py.

Written anew for Gymnasium 1: finished copies are reset in the same step. No TensorBoard, which the original writes.
"""

import random
import sys

import gymnasium
import numpy as np
import torch
from torch import nn
from torch.distributions.categorical import Categorical

STEPS, COPIES, LENGTH, MINIBATCHES, EPOCHS = 100_000, 4, 128, 4, 4
RATE, GAMMA, LAMBDA, CLIP, ENTROPY, VALUE, NORM = 2.5e-4, 0.99, 0.95, 0.2, 0.01, 0.5, 0.5


def layer(inputs: int, outputs: int, gain: float = 2**0.5) -> nn.Linear:
    made = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(made.weight, gain)
    nn.init.constant_(made.bias, 0.0)
    return made


def network(outputs: int, gain: float) -> nn.Sequential:
    return nn.Sequential(layer(4, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, outputs, gain))


def main(seed: int, output: str) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    environments = gymnasium.vector.SyncVectorEnv(
        [lambda: gymnasium.wrappers.RecordEpisodeStatistics(gymnasium.make("CartPole-v1"))] * COPIES,
        autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP,
    )
    actor, critic = network(2, 0.01), network(1, 1.0)
    parameters = [*actor.parameters(), *critic.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=RATE, eps=1e-5)
    observations = torch.zeros(LENGTH, COPIES, 4)
    actions, log_probs, rewards, dones, values = (torch.zeros(LENGTH, COPIES) for _ in range(5))
    first, _ = environments.reset(seed=seed)
    now, done = torch.as_tensor(first), torch.zeros(COPIES)
    updates = STEPS // (COPIES * LENGTH)
    for update in range(updates):
        optimiser.param_groups[0]["lr"] = RATE * (1 - update / updates)
        for step in range(LENGTH):
            observations[step], dones[step] = now, done
            with torch.no_grad():
                distribution = Categorical(logits=actor(now))
                action = distribution.sample()
                values[step] = critic(now).flatten()
                actions[step], log_probs[step] = action, distribution.log_prob(action)
            met, reward, terminated, truncated, _ = environments.step(action.numpy())
            rewards[step] = torch.as_tensor(reward)
            now, done = torch.as_tensor(met), torch.as_tensor(terminated | truncated).float()
        with torch.no_grad():
            following, advantages, last = critic(now).flatten(), torch.zeros_like(rewards), torch.zeros(COPIES)
            for step in reversed(range(LENGTH)):
                goes_on = 1 - (done if step == LENGTH - 1 else dones[step + 1])
                delta = rewards[step] + GAMMA * following * goes_on - values[step]
                advantages[step] = last = delta + GAMMA * LAMBDA * goes_on * last
                following = values[step]
            returns = advantages + values
        flat = [part.reshape(LENGTH * COPIES, -1) for part in (observations, actions, log_probs, advantages, returns)]
        flat.append(values.reshape(-1, 1))
        for _ in range(EPOCHS):
            for chosen in np.split(np.random.permutation(LENGTH * COPIES), MINIBATCHES):
                seen, acted, old, advantage, target, before = (part[chosen].squeeze(-1) for part in flat)
                distribution = Categorical(logits=actor(seen))
                ratio = (distribution.log_prob(acted) - old).exp()
                advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
                policy_loss = -torch.min(advantage * ratio, advantage * ratio.clamp(1 - CLIP, 1 + CLIP)).mean()
                value = critic(seen).flatten()
                clipped = before + (value - before).clamp(-CLIP, CLIP)
                value_loss = 0.5 * torch.max((value - target) ** 2, (clipped - target) ** 2).mean()
                loss = policy_loss - ENTROPY * distribution.entropy().mean() + VALUE * value_loss
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(parameters, NORM)
                optimiser.step()
    torch.save(actor.state_dict(), f"{output}/actor.pt")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])

"""Make data/log.csv: what hands of different skill did with the pole. The same every time.

python examples/offline_cartpole/make_data.py
"""

from pathlib import Path

import gymnasium
import numpy as np

EPISODES = 160
CARELESSNESS = (1.0, 0.8, 0.65, 0.5)
"""How often a hand acts at random, episode by episode in turn; otherwise it pushes to where the pole falls."""


def rows() -> "list[str]":
    """One line a step."""
    generator = np.random.default_rng(2025)
    environment = gymnasium.make("CartPole-v1")
    lines = []
    for episode in range(EPISODES):
        careless = CARELESSNESS[episode % len(CARELESSNESS)]
        observation, _ = environment.reset(seed=episode)
        step, over = 0, False
        while not over:
            if generator.random() < careless:
                action = int(generator.integers(2))
            else:
                action = int(observation[2] + 0.4 * observation[3] + 0.03 * observation[0] + 0.08 * observation[1] > 0)
            seen = ",".join(f"{value:.4f}" for value in observation)
            observation, reward, terminated, truncated, _ = environment.step(action)
            over = terminated or truncated
            lines.append(f"{episode},{step},{seen},{action},{reward:g},{int(terminated)},{int(truncated)}\n")
            step += 1
    return lines


def main() -> None:
    """Write the file."""
    target = Path(__file__).with_name("data") / "log.csv"
    target.parent.mkdir(exist_ok=True)
    observed = ",".join(f"observation_{index}" for index in range(4))
    header = f"episode,step,{observed},action,reward,terminated,truncated\n"
    target.write_text(header + "".join(rows()), encoding="utf-8")


if __name__ == "__main__":
    main()

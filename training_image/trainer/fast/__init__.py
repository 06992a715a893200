"""PPO on MLP policies, several times faster: Stable-Baselines3's format and mathematics, computed in numpy.

network   actor and critic on one flat vector, shared with torch's parameters and Adam's state
actions   what the network's scores mean: Discrete and Box actions, and their gradients
ppo       the PPO class whose rollouts and updates use both
frozen    actors as they were, several side by side
playing   the same episodes for each of them

The cost of a small network in torch is not arithmetic but the price of each of hundreds of small calls. Here there
are few of them. `unsupported` says for which models the same numbers come out; for all others Stable-Baselines3's own
class trains.
"""

from training_image.trainer.fast.ppo import FastPPO, describe, ppo, unsupported

__all__ = ["FastPPO", "describe", "ppo", "unsupported"]

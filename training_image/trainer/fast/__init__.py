"""PPO, DQN and QR-DQN on MLP policies, several times faster: the libraries' formats and mathematics, computed in numpy.

adam      weights and Adam's moments on flat vectors, shared with torch's
model     what the trainer may ask of any of the models below
network   actor and critic in one
actions   what the actor's scores mean: Discrete and Box actions, and their gradients
ppo       the PPO class whose rollouts and updates use both
mlp       a plain network
values    what DQN and QR-DQN have in common: transitions, targets, updates
dqn       the DQN class
qrdqn     the QR-DQN class
quantiles the loss of QR-DQN and TQC
tqc       the TQC class; its networks stay with torch
frozen    actors as they were, several side by side
playing   the same episodes for each of them

The cost of a small network in torch is not arithmetic but the price of each of hundreds of small calls. Here there
are few of them. `unsupported` says for which models the same numbers come out; for all others the libraries' own
classes train.
"""

from stable_baselines3.common.base_class import BaseAlgorithm

from training_image.trainer.fast.model import FastModel

__all__ = ["FastModel", "describe"]

_OWN = {"PPO": "Stable-Baselines3's", "DQN": "Stable-Baselines3's", "QRDQN": "sb3-contrib's"}


def describe(model: BaseAlgorithm) -> str | None:
    """For the log: which class trains a model, and why; None for algorithms that have no fast path."""
    name = type(model).__name__.removeprefix("Fast")
    if name not in _OWN:
        return None
    if isinstance(model, FastModel):
        return f"{name} runs on the fast path: {_OWN[name]} arithmetic in numpy"
    if name == "PPO":
        from training_image.trainer.fast.ppo import unsupported as why
    else:
        from training_image.trainer.fast.values import unsupported as why  # type: ignore[assignment]
    return f"{name} runs as {_OWN[name]} own class: {why(model) or 'the fast path is switched off'}"  # type: ignore[arg-type]

"""The algorithms a run file may name: where each can act, and what it takes."""

from dataclasses import dataclass

from contract.hyperparameters import (
    A2CHyperparameters,
    DQNHyperparameters,
    Hyperparameters,
    MaskablePPOHyperparameters,
    PPOHyperparameters,
    QLearningHyperparameters,
    QRDQNHyperparameters,
    RecurrentPPOHyperparameters,
    ReinforceHyperparameters,
    SACHyperparameters,
    TD3Hyperparameters,
    TQCHyperparameters,
)


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """One algorithm: which Gymnasium spaces (by class name) it can act in and learn from, and what it takes.

    A Dict is learnt from where each of its parts is plain: see `contract.catalogue.CatalogueSpace.kind`.
    """

    name: str
    title: str
    paper: str
    action_spaces: frozenset[str]
    observation_spaces: frozenset[str]
    hyperparameters: type[Hyperparameters]
    needs_masks: bool = False
    """It learns only where the environment says which actions are valid."""


_BOX = frozenset({"Box"})
_DISCRETE = frozenset({"Discrete"})
_CHOICES = frozenset({"Discrete", "MultiDiscrete", "MultiBinary"})
_ANY = _CHOICES | _BOX
_OBSERVED = _ANY | {"Dict"}

ALGORITHMS = {
    algorithm.name: algorithm
    for algorithm in (
        Algorithm(
            name="ppo",
            title="Proximal Policy Optimization",
            paper="Schulman et al., 2017, arXiv:1707.06347",
            action_spaces=_ANY,
            observation_spaces=_OBSERVED,
            hyperparameters=PPOHyperparameters,
        ),
        Algorithm(
            name="a2c",
            title="Advantage Actor-Critic",
            paper="Mnih et al., 2016, arXiv:1602.01783",
            action_spaces=_ANY,
            observation_spaces=_OBSERVED,
            hyperparameters=A2CHyperparameters,
        ),
        Algorithm(
            name="reinforce",
            title="REINFORCE (policy gradient)",
            paper="Williams, 1992, doi:10.1007/BF00992696",
            action_spaces=_ANY,
            observation_spaces=_OBSERVED,
            hyperparameters=ReinforceHyperparameters,
        ),
        Algorithm(
            name="recurrent-ppo",
            title="PPO with a long short-term memory",
            paper="Schulman et al., 2017, arXiv:1707.06347; Hochreiter and Schmidhuber, 1997",
            action_spaces=_ANY,
            observation_spaces=_OBSERVED,
            hyperparameters=RecurrentPPOHyperparameters,
        ),
        Algorithm(
            name="maskable-ppo",
            title="PPO with invalid actions masked",
            paper="Huang and Ontañón, 2020, arXiv:2006.14171",
            action_spaces=_CHOICES,
            observation_spaces=_OBSERVED,
            hyperparameters=MaskablePPOHyperparameters,
            needs_masks=True,
        ),
        Algorithm(
            name="dqn",
            title="Deep Q-Network",
            paper="Mnih et al., 2015, doi:10.1038/nature14236",
            action_spaces=_DISCRETE,
            observation_spaces=_OBSERVED,
            hyperparameters=DQNHyperparameters,
        ),
        Algorithm(
            name="qrdqn",
            title="Quantile-Regression DQN",
            paper="Dabney et al., 2017, arXiv:1710.10044",
            action_spaces=_DISCRETE,
            observation_spaces=_OBSERVED,
            hyperparameters=QRDQNHyperparameters,
        ),
        Algorithm(
            name="sac",
            title="Soft Actor-Critic",
            paper="Haarnoja et al., 2018, arXiv:1812.05905",
            action_spaces=_BOX,
            observation_spaces=_OBSERVED,
            hyperparameters=SACHyperparameters,
        ),
        Algorithm(
            name="td3",
            title="Twin Delayed DDPG",
            paper="Fujimoto et al., 2018, arXiv:1802.09477",
            action_spaces=_BOX,
            observation_spaces=_OBSERVED,
            hyperparameters=TD3Hyperparameters,
        ),
        Algorithm(
            name="tqc",
            title="Truncated Quantile Critics",
            paper="Kuznetsov et al., 2020, arXiv:2005.04269",
            action_spaces=_BOX,
            observation_spaces=_OBSERVED,
            hyperparameters=TQCHyperparameters,
        ),
        Algorithm(
            name="q-learning",
            title="Tabular Q-learning",
            paper="Watkins and Dayan, 1992, doi:10.1007/BF00992698",
            action_spaces=_DISCRETE,
            observation_spaces=_DISCRETE,
            hyperparameters=QLearningHyperparameters,
        ),
    )
}


def algorithms_for(action_space: str, observation_space: str, *, masks: bool = False) -> list[str]:
    """Names of the algorithms for an environment, given the kinds of its Gymnasium spaces.

    `masks` is whether the environment says which of its actions are valid.
    """
    return sorted(
        name
        for name, algorithm in ALGORITHMS.items()
        if action_space in algorithm.action_spaces
        and observation_space in algorithm.observation_spaces
        and (masks or not algorithm.needs_masks)
    )

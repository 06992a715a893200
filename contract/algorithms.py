"""The algorithms a run file may name: where each can act, and what it takes."""

from dataclasses import dataclass
from typing import Literal

from contract.hyperparameters import (
    A2CHyperparameters,
    BCHyperparameters,
    DQNHyperparameters,
    Hyperparameters,
    IQLHyperparameters,
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
    log: Literal["ignores", "begins", "remembers", "needs"] = "ignores"
    """What it makes of logged experience: nothing; its policy begins as the log's; its memory begins with the log; or
    it learns from nothing else."""

    @property
    def is_offline(self) -> bool:
        """Whether it never acts while it learns."""
        return self.log == "needs"


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
            log="begins",
        ),
        Algorithm(
            name="a2c",
            title="Advantage Actor-Critic",
            paper="Mnih et al., 2016, arXiv:1602.01783",
            action_spaces=_ANY,
            observation_spaces=_OBSERVED,
            hyperparameters=A2CHyperparameters,
            log="begins",
        ),
        Algorithm(
            name="reinforce",
            title="REINFORCE (policy gradient)",
            paper="Williams, 1992, doi:10.1007/BF00992696",
            action_spaces=_ANY,
            observation_spaces=_OBSERVED,
            hyperparameters=ReinforceHyperparameters,
            log="begins",
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
            log="remembers",
        ),
        Algorithm(
            name="qrdqn",
            title="Quantile-Regression DQN",
            paper="Dabney et al., 2017, arXiv:1710.10044",
            action_spaces=_DISCRETE,
            observation_spaces=_OBSERVED,
            hyperparameters=QRDQNHyperparameters,
            log="remembers",
        ),
        Algorithm(
            name="sac",
            title="Soft Actor-Critic",
            paper="Haarnoja et al., 2018, arXiv:1812.05905",
            action_spaces=_BOX,
            observation_spaces=_OBSERVED,
            hyperparameters=SACHyperparameters,
            log="remembers",
        ),
        Algorithm(
            name="td3",
            title="Twin Delayed DDPG",
            paper="Fujimoto et al., 2018, arXiv:1802.09477",
            action_spaces=_BOX,
            observation_spaces=_OBSERVED,
            hyperparameters=TD3Hyperparameters,
            log="remembers",
        ),
        Algorithm(
            name="tqc",
            title="Truncated Quantile Critics",
            paper="Kuznetsov et al., 2020, arXiv:2005.04269",
            action_spaces=_BOX,
            observation_spaces=_OBSERVED,
            hyperparameters=TQCHyperparameters,
            log="remembers",
        ),
        Algorithm(
            name="q-learning",
            title="Tabular Q-learning",
            paper="Watkins and Dayan, 1992, doi:10.1007/BF00992698",
            action_spaces=_DISCRETE,
            observation_spaces=_DISCRETE,
            hyperparameters=QLearningHyperparameters,
        ),
        Algorithm(
            name="bc",
            title="Behaviour cloning",
            paper="Pomerleau, 1991, doi:10.1162/neco.1991.3.1.88",
            action_spaces=_ANY,
            observation_spaces=_ANY,
            hyperparameters=BCHyperparameters,
            log="needs",
        ),
        Algorithm(
            name="iql",
            title="Implicit Q-Learning",
            paper="Kostrikov, Nair and Levine, 2021, arXiv:2110.06169",
            action_spaces=_ANY,
            observation_spaces=_ANY,
            hyperparameters=IQLHyperparameters,
            log="needs",
        ),
    )
}


def algorithms_for(action_space: str, observation_space: str, *, masks: bool = False, logs: bool = False) -> list[str]:
    """Names of the algorithms for an environment, given the kinds of its Gymnasium spaces.

    `masks` is whether the environment says which of its actions are valid, `logs` whether there is logged experience.
    """
    return sorted(
        name
        for name, algorithm in ALGORITHMS.items()
        if action_space in algorithm.action_spaces
        and observation_space in algorithm.observation_spaces
        and (masks or not algorithm.needs_masks)
        and (logs or not algorithm.is_offline)
    )

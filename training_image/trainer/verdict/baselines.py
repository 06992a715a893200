"""What a return is worth: what others earn on the very same episodes.

An environment that knows has a method `rules`, which names other ways to act, and a method `optimum`: the highest
return of the episode that has just begun, for who knows all of it beforehand. `training_image.environments.table` has
both.
"""

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from contract.run import EnvironmentSection
from contract.verdict import Baseline, Baselines
from training_image.trainer.envs import tables
from training_image.trainer.envs.observations import Batch
from training_image.trainer.policies.evaluation import Episodes, play
from training_image.trainer.verdict.judging import lower_bound


def beside(episodes: Episodes, environment: EnvironmentSection, *, seed: int, confidence: float) -> Baselines | None:
    """What others earn on the episodes that a policy played from `seed` on; None where the environment names none."""
    kwargs: dict[str, Any] = tables.given(dict(environment.kwargs))
    made: gymnasium.Env[Any, Any] = gymnasium.make(environment.id, disable_env_checker=True, **kwargs)
    try:
        if environment.frame_stack > 1 or not hasattr(made.unwrapped, "rules"):
            return None
        rules = {name: _Rule(act) for name, act in made.unwrapped.rules().items()}
        optimum = _optimum(made, len(episodes.returns), seed) if hasattr(made.unwrapped, "optimum") else None
    finally:
        made.close()
    found = {}
    for name, rule in rules.items():
        played = play(rule, environment, episodes=len(episodes.returns), seed=seed, record=False)
        lead = episodes.returns - played.returns
        found[name] = Baseline(
            mean_return=float(played.returns.mean()),
            difference=float(lead.mean()),
            difference_lower_bound=lower_bound(lead, confidence),
        )
    share = float(episodes.returns.mean() / optimum) if optimum is not None and optimum > 0 else None
    return Baselines(rules=found, optimum=optimum, share_of_optimum=share)


def sentence(baselines: Baselines) -> str:
    """What there is to say of them beside a verdict."""
    others = ", ".join(f"{name} {one.mean_return:.6g}" for name, one in baselines.rules.items())
    said = f" On the same episodes others earn: {others}."
    if baselines.optimum is None or baselines.share_of_optimum is None:
        return said
    share = 100 * baselines.share_of_optimum
    return f"{said} Nobody could earn more than {baselines.optimum:.6g}; the policy earned {share:.3g} % of it."


@dataclass(frozen=True)
class _Rule:
    """A rule as a policy."""

    _act: Any

    def act(self, observations: Batch) -> npt.NDArray[Any]:
        actions: npt.NDArray[Any] = self._act(observations)
        return actions


def _optimum(made: gymnasium.Env[Any, Any], episodes: int, seed: int) -> float:
    """Mean of the highest returns of these episodes."""
    highest = []
    for number in range(episodes):
        made.reset(seed=seed + number)
        highest.append(made.unwrapped.optimum())  # type: ignore[attr-defined]
    return float(np.mean(highest))

"""How often a worse, an equal and a better policy take the champion's place.

The policies push a pole's cart to the side that the pole falls to, but for a bias. With the opposite bias it is another
policy with the very same distribution of returns, because the cart's world is symmetric: so it is known which
candidates are equal, and not only believed.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.results import table, write
from contract.run import EnvironmentSection
from training_image.trainer.policies import evaluation
from training_image.trainer.verdict import judging
from training_image.trainer.verdict.validation import judging_seeds

CONFIDENCE = 0.95
EPISODES = 100
FULL = 50
"""Repetitions that make a whole verdict each, as a run does."""

REPETITIONS = 400
"""Those, and more of which only the bound that decides is computed: 50 tell a rate of 5 % roughly."""

COPIES = 1000

Returns = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Leaning:
    """A policy. Its returns depend on `damping` and on the size of `bias`, not on the sign."""

    damping: float
    bias: float

    def act(self, observations: Any) -> Any:
        """0 or 1 for each observation."""
        return (observations @ np.array([0, 0, 1, self.damping]) > self.bias).astype(np.int64)


@dataclass(frozen=True)
class Case:
    """A champion, and candidates for its place."""

    name: str
    champion: Leaning
    worse: Leaning
    better: Leaning

    @property
    def equal(self) -> Leaning:
        """Another policy that is exactly as good as the champion."""
        return Leaning(self.champion.damping, -self.champion.bias)


CASES = (
    Case("returns spread around 266", Leaning(0.1, 0.02), worse=Leaning(0.1, 0.021), better=Leaning(0.1, 0.019)),
    Case("half of them at the ceiling", Leaning(0.5, 0.03), worse=Leaning(0.5, 0.032), better=Leaning(0.5, 0.025)),
)
CANDIDATES = ("worse", "equal", "better")


def returns_of(policy: Leaning, repetitions: int, seed: int) -> Returns:
    """Returns `[repetitions, EPISODES]`, the same episodes for every policy."""
    count = repetitions * EPISODES
    environment = EnvironmentSection(id="CartPole-v1")
    most, evaluation.MOST_COPIES = evaluation.MOST_COPIES, COPIES
    try:
        played = evaluation.play(policy, environment, episodes=count, seed=seed, record=False)
    finally:
        evaluation.MOST_COPIES = most
    return played.returns.reshape(repetitions, EPISODES)


def promoted(candidates: Returns, champions: Returns) -> int:
    """In how many repetitions the candidate takes the champion's place."""
    pairs = zip(candidates, champions, strict=True)
    return sum(judging.lower_bound(own - theirs, CONFIDENCE) >= 0 for own, theirs in pairs)


def main() -> str:
    """Play and judge all repetitions; returns the table."""
    rows, found = [], []
    for case in CASES:
        seed = judging_seeds(case.name)
        champions = returns_of(case.champion, REPETITIONS, seed)
        for name in CANDIDATES:
            own = returns_of(getattr(case, name), REPETITIONS, seed)
            whole = sum(_verdict(*pair).passed for pair in zip(own[:FULL], champions[:FULL], strict=True))
            often = promoted(own, champions)
            mean = float((own - champions).mean())
            found.append(
                {"case": case.name, "candidate": name, "policy": asdict(getattr(case, name)), "difference": mean}
                | {f"promoted_of_{FULL}": whole, f"promoted_of_{REPETITIONS}": often}
            )
            rows.append([case.name, name, f"{mean:+.1f}", f"{whole} of {FULL}", _rate(often)])
        for name, often in _chosen(case, champions).items():
            found.append({"case": case.name, "candidate": name, f"promoted_of_{REPETITIONS}": often})
            rows.append([case.name, name, "0", "", _rate(often)])
        write("verdict", "python -m benchmarks verdict", {"confidence": CONFIDENCE, "found": found})
    header = ["returns", "candidate", "difference of the means", "promoted", f"of {REPETITIONS}"]
    return table(header, rows)


def _rate(number: int) -> str:
    return f"{100 * number / REPETITIONS:.1f} %"


def _chosen(case: Case, judged: Returns) -> dict[str, int]:
    """How often the better of two equal policies, by some episodes, is said to reach the mean that it has."""
    policies = case.champion, case.equal
    choosing = [returns_of(policy, REPETITIONS, judging_seeds(f"{case.name}, choosing")) for policy in policies]
    judging_set = [judged, returns_of(case.equal, REPETITIONS, judging_seeds(case.name))]
    true_mean = float(np.mean([*choosing, *judging_set]))
    best = [int(np.argmax(means)) for means in zip(*(own.mean(axis=1) for own in choosing), strict=True)]

    def passed(played: list[Returns]) -> int:
        return sum(
            judging.lower_bound(played[policy][repetition], CONFIDENCE) >= true_mean
            for repetition, policy in enumerate(best)
        )

    return {
        "best of two by a first set, judged on the second": passed(judging_set),
        "the same, were it judged on the first": passed(choosing),
    }


def _verdict(own: Returns, theirs: Returns) -> Any:
    """As `validation` makes it."""
    comparison = judging.compare(
        _episodes(own),
        _episodes(theirs),
        run_id="champion-000000000000",
        endpoint="benchmark",
        confidence=CONFIDENCE,
        min_return=0,
        margin=0,
    )
    return judging.judge(
        _episodes(own),
        seed=0,
        min_return=0,
        confidence=CONFIDENCE,
        onnx_observations=0,
        candidates={},
        champion=comparison,
    )


def _episodes(returns: Returns) -> evaluation.Episodes:
    return evaluation.Episodes(
        returns=returns,
        lengths=returns.astype(np.int64),
        truncated=returns >= 500,
        successes=np.full(len(returns), np.nan),
        observations=np.empty(0),
    )

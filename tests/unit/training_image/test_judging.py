"""The statistics of a verdict: what they are held to, and how often they err."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks.verdict import CASES, Case, promoted, returns_of
from contract.verdict import Comparison
from training_image.trainer.policies.evaluation import Episodes
from training_image.trainer.verdict.judging import (
    compare,
    figures,
    interquartile_mean,
    judge,
    lower_bound,
    mean_interval,
    stratified_interval,
)
from training_image.trainer.verdict.validation import judging_seeds

CONFIDENCE = 0.95


def episodes_of(returns: Any, **others: Any) -> Episodes:
    count = len(returns)
    known = {
        "lengths": np.ones(count, dtype=np.int64),
        "truncated": np.zeros(count, dtype=bool),
        "successes": np.full(count, np.nan),
        "observations": np.empty(0),
    }
    return Episodes(returns=np.array(returns, dtype=np.float64), **(known | others))


RETURNS = {
    "normal": np.random.default_rng(1).normal(100, 10, size=400),
    "with a ceiling": np.minimum(500, np.random.default_rng(2).normal(520, 60, size=100)),
    "skewed": np.random.default_rng(3).exponential(10, size=60) - 200,
    "few": np.array([1.0, 2, 3, 5, 8, 13]),
}


@pytest.mark.parametrize("name", RETURNS)
def test_the_interval_of_the_mean_is_scipys(name: str) -> None:
    returns = RETURNS[name]
    generator = np.random.default_rng(7)
    theirs = stats.bootstrap(
        (returns,), np.mean, n_resamples=20_000, confidence_level=CONFIDENCE, method="BCa", rng=generator
    ).confidence_interval
    ours = mean_interval(returns, CONFIDENCE)
    resampling = 0.05 * (theirs.high - theirs.low)
    assert ours == pytest.approx((theirs.low, theirs.high), abs=resampling)
    below = stats.bootstrap(
        (returns,), np.mean, n_resamples=20_000, confidence_level=CONFIDENCE, alternative="greater", rng=generator
    ).confidence_interval
    assert lower_bound(returns, CONFIDENCE) == pytest.approx(below.low, abs=resampling)


def test_the_interval_of_the_interquartile_mean_is_scipys_stratified_one() -> None:
    strata = [RETURNS["normal"][:80], RETURNS["normal"][80:200] + 30]

    def of_both(first: Any, second: Any, axis: int) -> Any:
        return stats.trim_mean(np.concatenate([first, second], axis=axis), 0.25, axis=axis)

    theirs = stats.bootstrap(
        strata, of_both, n_resamples=5000, method="percentile", rng=np.random.default_rng(7)
    ).confidence_interval
    ours = stratified_interval(strata, interquartile_mean, CONFIDENCE)
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.05 * (theirs.high - theirs.low))


@pytest.mark.parametrize("count", [2, 3, 4, 7, 100])
def test_the_interquartile_mean_is_the_trimmed_mean(count: int) -> None:
    values = np.random.default_rng(count).normal(size=(5, count))
    np.testing.assert_allclose(interquartile_mean(values), stats.trim_mean(values, 0.25, axis=1))


def test_equal_returns_have_no_spread_and_the_same_returns_the_same_bound() -> None:
    assert lower_bound(np.full(20, 500.0), CONFIDENCE) == 500
    assert mean_interval(np.full(20, 500.0), CONFIDENCE) == (500, 500)
    assert lower_bound(RETURNS["normal"], CONFIDENCE) == lower_bound(RETURNS["normal"], CONFIDENCE)


def test_ten_thousand_episodes_take_little_memory_and_time() -> None:
    bound = lower_bound(np.random.default_rng(0).normal(size=10_000), CONFIDENCE)
    assert bound == pytest.approx(-1.645 / 100, abs=0.03)


def test_figures_know_the_worst_episodes_and_the_failures() -> None:
    returns = np.arange(100.0)
    found = figures(episodes_of(returns), confidence=CONFIDENCE, min_return=25)
    assert found.worst_decile == np.mean(range(10))
    assert found.failure_rate == 0.25
    assert found.iqm_return == np.mean(range(25, 75))
    said = np.where(np.arange(100) < 50, np.nan, np.arange(100) % 2)
    found = figures(episodes_of(returns, successes=said), confidence=CONFIDENCE, min_return=25)
    assert found.failure_rate == (25 + 25) / 100, "what the environment says goes before the threshold"


def beside(returns: Any, champions: Any, margin: float = 0) -> Comparison:
    return compare(
        episodes_of(returns),
        episodes_of(champions),
        run_id="before-0123456789ab",
        endpoint="balance",
        confidence=CONFIDENCE,
        min_return=0,
        margin=margin,
    )


def verdict_beside(returns: Any, champions: Any, margin: float = 0, min_return: float = 0) -> Any:
    return judge(
        episodes_of(returns),
        seed=0,
        min_return=min_return,
        confidence=CONFIDENCE,
        onnx_observations=10_000,
        candidates={},
        champion=beside(returns, champions, margin),
    )


def test_differences_on_the_same_episodes_decide() -> None:
    """Episodes differ far more than the policies do."""
    champions = np.random.default_rng(0).normal(100, 50, size=100)
    noise = np.random.default_rng(1).normal(0, 2, size=100)
    found = verdict_beside(champions + 1 + noise, champions)
    assert (found.passed, found.rule) == (True, "champion")
    assert found.champion.probability_of_improvement == np.mean(noise > -1)
    found = verdict_beside(champions - 1 + noise, champions)
    assert (found.passed, found.rule) == (False, "champion")
    assert "not shown to be as good as what serves" in found.reason
    assert "balance (before-0123456789ab)" in found.reason
    assert verdict_beside(champions - 1 + noise, champions, margin=2).passed


def test_a_policy_that_does_the_same_is_not_worse() -> None:
    found = verdict_beside([500.0] * 20, [500.0] * 20)
    assert found.passed
    assert found.champion.probability_of_improvement == 0.5


def test_a_policy_below_the_threshold_is_not_saved_by_a_weaker_champion() -> None:
    found = verdict_beside([10.0] * 20, [5.0] * 20, min_return=11)
    assert (found.passed, found.rule) == (False, "min_return")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_how_often_a_worse_an_equal_and_a_better_policy_are_promoted(case: Case) -> None:
    """100 repetitions, each on 100 episodes of its own. At this confidence 5 wrong ones are expected of 100 whose
    difference is 0; more than 11 are so in one of a hundred tries."""
    seed = judging_seeds("repetitions")
    champions = returns_of(case.champion, 100, seed)
    assert promoted(returns_of(case.worse, 100, seed), champions) <= 5
    assert promoted(returns_of(case.equal, 100, seed), champions) <= 11
    assert promoted(returns_of(case.better, 100, seed), champions) >= 90

"""The statistics that decide whether a policy is good enough, and whether it is as good as the one that serves.

What decides is a bootstrap interval with bias and acceleration corrected (BCa; Efron, 1987,
doi:10.1080/01621459.1987.10478410). Returns often have a ceiling that most episodes reach, and there the plain
percentile interval promises too much. Policies are compared by the differences on the same episodes.
"""

from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from contract.verdict import AcrossSeeds, Comparison, Figures, Rule, Verdict
from training_image.trainer.policies.evaluation import Episodes

Values = npt.NDArray[np.float64]

RESAMPLES = 10_000
_NUMBERS_AT_ONCE = 2**21


def lower_bound(values: Values, confidence: float) -> float:
    """Lower end of the one-sided BCa interval of the mean. The same values give the same bound."""
    return _bca_quantiles(values, [1 - confidence])[0]


def mean_interval(values: Values, confidence: float) -> tuple[float, float]:
    """Both ends of the two-sided BCa interval of the mean."""
    low, high = _bca_quantiles(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return low, high


def interquartile_mean(values: Values) -> Any:
    """Mean of the half in the middle, along the last axis (Agarwal et al., 2021, arXiv:2108.13264)."""
    cut = values.shape[-1] // 4
    if cut == 0:
        return values.mean(axis=-1)
    middle = np.partition(values, [cut, values.shape[-1] - cut - 1], axis=-1)
    return middle[..., cut : values.shape[-1] - cut].mean(axis=-1)


def stratified_interval(
    strata: Sequence[Values], statistic: Callable[[Values], Any], confidence: float
) -> tuple[float, float]:
    """Percentile interval of a statistic of all values together, each stratum resampled in itself."""
    resampled = _resampled(strata, statistic)
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def failures(episodes: Episodes, min_return: float) -> npt.NDArray[np.bool_]:
    """Which episodes failed: as the environment says, otherwise those below `min_return`."""
    said = ~np.isnan(episodes.successes)
    return np.where(said, episodes.successes == 0, episodes.returns < min_return)


def figures(episodes: Episodes, *, confidence: float, min_return: float) -> Figures:
    """What there is to know of a policy over these episodes."""
    returns = episodes.returns
    worst = np.sort(returns)[: max(1, len(returns) // 10)]
    return Figures(
        episodes=len(returns),
        mean_return=float(returns.mean()),
        mean_interval=mean_interval(returns, confidence),
        iqm_return=float(interquartile_mean(returns)),
        iqm_interval=stratified_interval([returns], interquartile_mean, confidence),
        std_return=float(returns.std()),
        min_episode_return=float(returns.min()),
        max_episode_return=float(returns.max()),
        worst_decile=float(worst.mean()),
        mean_length=float(episodes.lengths.mean()),
        max_length=int(episodes.lengths.max()),
        truncation_rate=float(episodes.truncated.mean()),
        failure_rate=float(failures(episodes, min_return).mean()),
    )


def across_seeds(returns: Sequence[Values], confidence: float) -> AcrossSeeds:
    """All seeds' policies together; one array of returns a seed."""
    together = np.concatenate(returns)
    return AcrossSeeds(
        mean_return=float(together.mean()),
        mean_interval=stratified_interval(returns, _mean, confidence),
        iqm_return=float(interquartile_mean(together)),
        iqm_interval=stratified_interval(returns, interquartile_mean, confidence),
    )


def compare(
    episodes: Episodes,
    champion: Episodes,
    *,
    run_id: str,
    endpoint: str,
    confidence: float,
    min_return: float,
    margin: float,
) -> Comparison:
    """A policy beside the champion on the same episodes."""
    differences = episodes.returns - champion.returns
    better = np.sign(differences) / 2 + 0.5
    return Comparison(
        **figures(champion, confidence=confidence, min_return=min_return).model_dump(),
        run_id=run_id,
        endpoint=endpoint,
        difference=float(differences.mean()),
        difference_interval=mean_interval(differences, confidence),
        difference_lower_bound=lower_bound(differences, confidence),
        margin=margin,
        probability_of_improvement=float(better.mean()),
        probability_interval=stratified_interval([better], _mean, confidence),
    )


def judge(
    episodes: Episodes,
    *,
    seed: int,
    min_return: float,
    confidence: float,
    onnx_observations: int,
    candidates: dict[str, float],
    champion: Comparison | None = None,
    incomparable: tuple[Rule, str] | None = None,
    across: AcrossSeeds | None = None,
) -> Verdict:
    """Passed if the mean return is at least `min_return` with this confidence, and, where there is a champion, not
    lower than its by more than the margin.

    Args:
        incomparable: why a champion that there is could not be compared: no policy takes its place then.
    """
    own = figures(episodes, confidence=confidence, min_return=min_return)
    bound = lower_bound(episodes.returns, confidence)
    rule: Rule = "min_return"
    passed = bound >= min_return
    reasons = [
        f"over {own.episodes} held-out episodes the mean return is {own.mean_return:.6g}, and with "
        f"{100 * confidence:.6g} % confidence at least {bound:.6g}; {min_return:g} {'was' if passed else 'is'} required"
    ]
    if passed and champion:
        rule, passed = "champion", champion.difference_lower_bound >= -champion.margin
        reasons.append(beside(champion, passed=passed, confidence=confidence))
    elif passed and incomparable:
        (rule, why), passed = incomparable, False
        reasons.append(f"but {why}")
    return Verdict(
        **own.model_dump(),
        passed=passed,
        rule=rule,
        reason=f"The policy {'passed' if passed else 'did not pass'}: {'; '.join(reasons)}.",
        seed=seed,
        lower_bound=bound,
        confidence=confidence,
        min_return=min_return,
        champion=champion,
        across_seeds=across,
        onnx_observations=onnx_observations,
        candidates=candidates,
    )


def beside(champion: Comparison, *, passed: bool, confidence: float) -> str:
    """What there is to say of the champion that decided."""
    said = (
        f"on the same episodes the champion of {champion.endpoint} ({champion.run_id}) has {champion.mean_return:.6g}: "
        f"the difference is {champion.difference:+.6g}, and with {100 * confidence:.6g} % confidence at least "
        f"{champion.difference_lower_bound:+.6g}; {-champion.margin:g} {'was' if passed else 'is'} required"
    )
    if not passed:
        said = f"but it is not shown to be as good as what serves: {said}, see validation.margin"
    return said


def _mean(values: Values) -> Any:
    return values.mean(axis=-1)


def _bca_quantiles(values: Values, levels: list[float]) -> list[float]:
    """Quantiles of the mean's bootstrap distribution, at levels moved by its bias and its acceleration."""
    if np.ptp(values) == 0:
        return [float(values[0])] * len(levels)
    mean, means = values.mean(), _resampled([values], _mean)
    below = float(np.mean(means < mean) + np.mean(means == mean) / 2)
    bias = _NORMAL.inv_cdf(min(max(below, 1 / RESAMPLES), 1 - 1 / RESAMPLES))
    deviations = values - mean  # as those of the mean without one value, but for a factor that cancels
    acceleration = float((deviations**3).sum() / (6 * (deviations**2).sum() ** 1.5))
    shifted = [bias + _NORMAL.inv_cdf(level) for level in levels]
    moved = [_NORMAL.cdf(bias + shift / (1 - acceleration * shift)) for shift in shifted]
    return [float(bound) for bound in np.quantile(means, moved)]


_NORMAL = NormalDist()


def _resampled(strata: Sequence[Values], statistic: Callable[[Values], Any]) -> Values:
    """The statistic of `RESAMPLES` resamples, the same ones each time."""
    generator = np.random.default_rng(0)
    count = sum(len(stratum) for stratum in strata)
    at_once = max(1, min(RESAMPLES, _NUMBERS_AT_ONCE // count))
    found = []
    for first in range(0, RESAMPLES, at_once):
        size = min(at_once, RESAMPLES - first)
        drawn = [stratum[generator.integers(len(stratum), size=(size, len(stratum)))] for stratum in strata]
        found.append(statistic(np.concatenate(drawn, axis=1)))
    return np.concatenate(found)

"""The rule that decides whether a policy is good enough."""

import numpy as np
import numpy.typing as npt

from contract.verdict import Verdict

RESAMPLES = 10_000
_AT_ONCE = 500


def lower_bound(returns: npt.NDArray[np.float64], confidence: float) -> float:
    """Lower end of the one-sided bootstrap interval of the mean return. The same returns give the same bound."""
    generator = np.random.default_rng(0)
    means = [
        returns[generator.integers(len(returns), size=(_AT_ONCE, len(returns)))].mean(axis=1)
        for _ in range(RESAMPLES // _AT_ONCE)
    ]
    return float(np.quantile(np.concatenate(means), 1 - confidence))


def judge(
    returns: npt.NDArray[np.float64],
    lengths: npt.NDArray[np.int64],
    *,
    seed: int,
    min_return: float,
    confidence: float,
    onnx_observations: int,
    candidates: dict[str, float],
) -> Verdict:
    """Passed if the mean return is at least `min_return` with this confidence."""
    bound = lower_bound(returns, confidence)
    mean = float(returns.mean())
    passed = bound >= min_return
    reason = (
        f"The policy {'passed' if passed else 'did not pass'}: over {len(returns)} held-out episodes the mean return "
        f"is {mean:.6g}, and with {100 * confidence:.6g} % confidence at least {bound:.6g}; "
        f"{min_return:g} {'was' if passed else 'is'} required."
    )
    return Verdict(
        passed=passed,
        reason=reason,
        seed=seed,
        episodes=len(returns),
        mean_return=mean,
        std_return=float(returns.std()),
        min_episode_return=float(returns.min()),
        max_episode_return=float(returns.max()),
        mean_length=float(lengths.mean()),
        lower_bound=bound,
        confidence=confidence,
        min_return=min_return,
        onnx_observations=onnx_observations,
        candidates=candidates,
    )

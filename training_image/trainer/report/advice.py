"""What to try after a policy that did not pass, from what its training and its episodes show."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from contract.verdict import Verdict

_FEW = 8
"""Fewer lines of metrics than this say nothing of a trend."""


def suggestions(verdict: Verdict, curves: dict[int, list[dict[str, Any]]]) -> list[str]:
    """Sentences for people, the most telling first; none for a policy that passed."""
    if not verdict.episodes:
        return [] if verdict.passed else list(_of_the_log(verdict))
    return [] if verdict.passed else [*_of_the_verdict(verdict), *_of_the_curve(verdict, curves), _LAST]


_LAST = (
    "Look at the worst episode, and compare runs with other hyperparameters: `rlpipe ui` lays their curves over "
    "each other."
)


def _of_the_log(verdict: Verdict) -> Iterator[str]:
    """Where no episode was played."""
    if verdict.mean_return >= verdict.min_return > verdict.lower_bound:
        yield (
            f"The estimate of {verdict.mean_return:.4g} is enough, but the held-out episodes leave too much doubt. A "
            "longer log narrows the interval, and so does a larger `data.held_out`."
        )
    yield (
        "What the log never shows cannot be learnt from it, nor judged by it: the data card has how much of the action "
        "space was tried. `iql` makes more of a log than `bc` where some of its episodes are better than others."
    )


def _of_the_verdict(verdict: Verdict) -> Iterator[str]:
    if verdict.mean_return >= verdict.min_return > verdict.lower_bound:
        yield (
            f"The mean of {verdict.mean_return:.4g} is enough, but {verdict.episodes} episodes leave too much doubt. "
            "More `validation.episodes` narrow the interval; a steadier policy does too."
        )
    others = {int(seed): value for seed, value in verdict.candidates.items() if int(seed) != verdict.seed}
    if others and max(others.values()) < verdict.min_return - 0.5 * abs(verdict.min_return - min(others.values())):
        yield (
            f"The seeds differ: the chosen one has {verdict.candidates[str(verdict.seed)]:.4g}, the others at most "
            f"{max(others.values()):.4g}. A longer training with a lower `learning_rate` is steadier; more `seeds` "
            "give more chances."
        )


def _of_the_curve(verdict: Verdict, curves: dict[int, list[dict[str, Any]]]) -> Iterator[str]:
    lines = [line for line in curves.get(verdict.seed, []) if "mean_return" in line]
    if len(lines) < _FEW:
        yield "Training was short: raise `timesteps`."
        return
    returns = np.array([line["mean_return"] for line in lines])
    part = max(1, len(returns) // 10)
    span = returns.max() - returns.min()
    end, before = returns[-part:].mean(), returns[-3 * part : -part].mean()
    best = int(returns.argmax())
    if span > 0 and end - before > 0.03 * span:
        yield f"The return was still rising at the end ({before:.4g} to {end:.4g}): raise `timesteps`."
    elif span > 0 and returns[best] - end > 0.2 * span:
        yield (
            f"The return fell from {returns[best]:.4g} at step {lines[best]['timesteps']:,} to {end:.4g}: lower the "
            "`learning_rate`, or let it fall to 0 (`lin_...`)."
        )
    else:
        yield (
            f"The return stopped rising at about {end:.4g}: other `hyperparameters` or another `algorithm`, rather "
            "than more of the same."
        )

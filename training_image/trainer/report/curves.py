"""The documents of charts, as `charts/charts.js` draws them. Standard library only: `rlpipe ui` makes them too."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

Line = dict[str, Any]
"""A line of metrics.jsonl or evaluations.jsonl."""

POINTS = 300
"""More than a chart has pixels for on a phone, and few enough that five seeds stay small."""

MEASURES = {
    "entropy": ("Entropy", "How random the actions still are. Near its floor early on, the policy no longer explores."),
    "exploration_rate": ("Exploration", "Share of actions taken at random."),
    "approx_kl": ("KL divergence", "How far an update moved the policy. Well above 0.05, the steps are too large."),
    "clip_fraction": ("Clipped", "Share of samples where PPO held the update back."),
    "explained_variance": ("Explained variance", "How well values predict returns: 1 perfectly, 0 not at all."),
    "policy_gradient_loss": ("Policy loss", "What the policy's updates minimise; its size says little."),
    "actor_loss": ("Actor loss", "What the policy's updates minimise: minus the value of its actions."),
    "policy_loss": ("Policy loss", "What the policy's updates minimise."),
    "value_loss": (
        "Value loss",
        "Squared error of the predicted returns. It rises when returns do, and should then fall.",
    ),
    "critic_loss": ("Critic loss", "Squared error of the predicted values."),
    "loss": ("Loss", "What the updates minimise."),
    "ent_coef": ("Entropy coefficient", "What randomness is worth to the policy."),
    "std": ("Standard deviation", "Of the actions' noise."),
    "learning_rate": ("Learning rate", "As its schedule has it."),
    "steps_per_second": ("Steps per second", "Environment steps, of each seed."),
}
"""What an algorithm measures of itself, in the order in which it is shown."""


def learning(seeds: dict[int, list[Line]], *, level: float | None) -> dict[str, Any]:
    """The learning curves of all seeds: a line each, and over several their mean and their range.

    :param level: the mean return that is required, where that is known.
    """
    tables = {seed: _table(lines, _reader("mean_return")) for seed, lines in seeds.items()}
    ends = ", ".join(f"seed {seed} ends at {ys[-1]:.4g}" for seed, (_, ys) in tables.items() if len(ys))
    return {
        "kind": "lines",
        "x": "environment steps",
        "y": "mean return",
        "label": f"Mean return over environment steps: {ends or 'nothing was recorded'}."
        + ("" if level is None else f" {level:g} is required."),
        "level": None if level is None else {"name": "required", "value": level},
        **_together({seed: table for seed, table in tables.items() if len(table[0])}, apart=True),
    }


def measures(seeds: dict[int, list[Line]]) -> list[dict[str, Any]]:
    """A chart for each thing that the algorithm measured of itself, with its name and what it means."""
    found: list[dict[str, Any]] = []
    for key, (name, meaning) in MEASURES.items():
        tables = {seed: _table(_with_rate(lines), _reader(key)) for seed, lines in seeds.items()}
        tables = {seed: table for seed, table in tables.items() if len(table[0]) > 1}
        if not tables or (key == "loss" and any(one["key"] in ("value_loss", "critic_loss") for one in found)):
            continue
        last = ", ".join(f"{ys[-1]:.3g}" for _, ys in tables.values())
        chart = {"kind": "lines", "x": "steps", "y": "", "height": 150, "plain": True, **_together(tables, apart=False)}
        found.append(
            {"key": key, "name": name, "meaning": meaning, "chart": chart | {"label": f"{name}, last: {last}"}}
        )
    return found


def histogram(returns: Mapping[str, Sequence[float]], *, level: float) -> dict[str, Any]:
    """How the returns of held-out episodes are spread, for each policy that played them."""
    values = [value for one in returns.values() for value in one]
    low, high = min(*values, level), max(*values, level)
    air = (high - low) * 0.03 or 0.5
    low, high = low - air, high + air
    count = min(40, max(10, math.isqrt(len(values)) * 2))
    width = (high - low) / count
    bars = []
    for name, one in returns.items():
        counts = [0] * count
        for value in one:
            counts[min(count - 1, int((value - low) / width))] += 1
        bars.append({"name": name, "counts": counts})
    said = "; ".join(f"{name} from {min(one):.4g} to {max(one):.4g}" for name, one in returns.items())
    return {
        "kind": "bars",
        "x": "return",
        "y": "episodes",
        "label": f"Returns of the held-out episodes: {said}. {level:g} is required.",
        "level": {"name": "required", "value": level},
        "edges": [float(f"{low + index * width:.6g}") for index in range(count + 1)],
        "bars": bars,
    }


Table = tuple[list[float], list[float]]
"""x and y."""


def _reader(key: str) -> Callable[[Line], float | None]:
    if key == "entropy":  # files of before 0.2 have it as a loss
        return lambda line: line["entropy"] if "entropy" in line else _minus(line.get("entropy_loss"))
    return lambda line: line.get(key)


def _minus(value: float | None) -> float | None:
    return None if value is None else -value


def _with_rate(lines: list[Line]) -> Iterable[Line]:
    """The lines, each with the speed since the one before."""
    before: Line = {"timesteps": 0, "seconds": 0.0}
    for line in lines:
        seconds = line.get("seconds", 0.0) - before.get("seconds", 0.0)
        rate = (line["timesteps"] - before["timesteps"]) / seconds if seconds > 0 else None
        yield {**line, "steps_per_second": rate}
        before = line


def _table(lines: Iterable[Line], read: Callable[[Line], float | None]) -> Table:
    """At most `POINTS` of them, by rising steps: each the mean of some that follow each other, at the step of the last.

    Of a step that was recorded twice, as an attempt that resumes may do, the last value counts.
    """
    values = {float(line["timesteps"]): value for line in lines if (value := read(line)) is not None}
    pairs = sorted(values.items())
    if len(pairs) > POINTS:
        edges = [index * len(pairs) // POINTS for index in range(POINTS + 1)]
        groups = [pairs[first:last] for first, last in pairwise(edges)]
        pairs = [(group[-1][0], fmean(value for _, value in group)) for group in groups]
    return [x for x, _ in pairs], [y for _, y in pairs]


def _together(tables: dict[int, Table], *, apart: bool) -> dict[str, Any]:
    """Lines and bands: of several seeds the mean and the range where all of them are, and if `apart` each of them."""
    each = [{"name": f"seed {seed}", **_xy(table)} for seed, table in tables.items()]
    if len(tables) < 2:
        return {"lines": each, "bands": []}
    first = max(xs[0] for xs, _ in tables.values())
    last = min(xs[-1] for xs, _ in tables.values())
    if last <= first:
        return {"lines": each, "bands": []}
    # A grid that all seeds mostly share already: lines of metrics lie at the same steps.
    grid = sorted({x for xs, _ in tables.values() for x in xs if first <= x <= last})
    if len(grid) > POINTS:
        grid = [first + round(index * (last - first) / (POINTS - 1)) for index in range(POINTS)]
    rows = list(zip(*(_at(grid, table) for table in tables.values()), strict=True))
    mean = {"name": f"mean of {len(tables)} seeds", "bold": True, **_xy((grid, [fmean(row) for row in rows]))}
    band = {
        "name": "lowest to highest",
        "x": _numbers(grid),
        "low": _numbers(min(row) for row in rows),
        "high": _numbers(max(row) for row in rows),
    }
    return {"lines": [*(each if apart else []), mean], "bands": [band]}


def _at(grid: list[float], table: Table) -> list[float]:
    """A line's heights at these steps, all of which it spans."""
    xs, ys = table
    heights = []
    for x in grid:
        right = min(max(bisect_left(xs, x), 1), len(xs) - 1)
        left = right - 1
        share = (x - xs[left]) / (xs[right] - xs[left])
        heights.append(ys[left] + share * (ys[right] - ys[left]))
    return heights


def _xy(table: Table) -> dict[str, Any]:
    return {"x": _numbers(table[0]), "y": _numbers(table[1])}


def _numbers(values: Iterable[float]) -> list[float | int]:
    """As JSON, short."""
    return [int(value) if float(value).is_integer() else float(f"{value:.5g}") for value in values]

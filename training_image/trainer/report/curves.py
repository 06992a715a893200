"""The documents of the report's charts, as `charts/charts.js` draws them."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

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


def learning(seeds: dict[int, list[Line]], *, level: float, key: str = "mean_return") -> dict[str, Any]:
    """The learning curves of all seeds: a line each, and over several their mean and their range."""
    tables = {seed: _table(lines, lambda line: line.get(key)) for seed, lines in seeds.items()}
    ends = ", ".join(f"seed {seed} ends at {ys[-1]:.4g}" for seed, (_, ys) in tables.items() if len(ys))
    return {
        "kind": "lines",
        "x": "environment steps",
        "y": "mean return",
        "label": f"Mean return over environment steps: {ends or 'nothing was recorded'}. {level:g} is required.",
        "level": {"name": "required", "value": level},
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
    values = np.concatenate([np.asarray(one, dtype=np.float64) for one in returns.values()])
    low, high = min(float(values.min()), level), max(float(values.max()), level)
    air = (high - low) * 0.03 or 0.5
    low, high = low - air, high + air
    count = min(40, max(10, math.isqrt(len(values)) * 2))
    edges = np.linspace(low, high, count + 1)
    said = "; ".join(f"{name} from {min(one):.4g} to {max(one):.4g}" for name, one in returns.items())
    return {
        "kind": "bars",
        "x": "return",
        "y": "episodes",
        "label": f"Returns of the held-out episodes: {said}. {level:g} is required.",
        "level": {"name": "required", "value": level},
        "edges": [float(f"{edge:.6g}") for edge in edges],
        "bars": [
            {"name": name, "counts": np.histogram(np.clip(one, low, high), edges)[0].tolist()}
            for name, one in returns.items()
        ],
    }


Table = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


def _reader(key: str) -> Callable[[Line], float | None]:
    if key == "entropy":
        return lambda line: -line["entropy_loss"] if "entropy_loss" in line else line.get("entropy")
    return lambda line: line.get(key)


def _with_rate(lines: list[Line]) -> Iterable[Line]:
    """The lines, each with the speed since the one before."""
    before: Line = {"timesteps": 0, "seconds": 0.0}
    for line in lines:
        seconds = line.get("seconds", 0.0) - before.get("seconds", 0.0)
        rate = (line["timesteps"] - before["timesteps"]) / seconds if seconds > 0 else None
        yield {**line, "steps_per_second": rate}
        before = line


def _table(lines: Iterable[Line], read: Callable[[Line], float | None]) -> Table:
    pairs = [(line["timesteps"], value) for line in lines if (value := read(line)) is not None]
    xs, ys = (np.array(column, dtype=np.float64) for column in (zip(*pairs, strict=True) if pairs else ((), ())))
    if len(xs) > POINTS:
        edges = np.linspace(0, len(xs), POINTS + 1).astype(int)[:-1]
        counts = np.diff(np.append(edges, len(xs)))
        ys = np.add.reduceat(ys, edges) / counts
        xs = xs[np.append(edges[1:], len(xs)) - 1]
    return xs, ys


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
    grid = np.unique(np.concatenate([xs[(xs >= first) & (xs <= last)] for xs, _ in tables.values()]))
    if len(grid) > POINTS:
        grid = np.linspace(first, last, POINTS).round()
    values = np.stack([np.interp(grid, *table) for table in tables.values()])
    name = f"mean of {len(tables)} seeds"
    return {
        "lines": [*(each if apart else []), {"name": name, "bold": True, **_xy((grid, values.mean(axis=0)))}],
        "bands": [
            {
                "name": "lowest to highest",
                "x": _numbers(grid),
                "low": _numbers(values.min(axis=0)),
                "high": _numbers(values.max(axis=0)),
            }
        ],
    }


def _xy(table: Table) -> dict[str, Any]:
    return {"x": _numbers(table[0]), "y": _numbers(table[1])}


def _numbers(values: npt.NDArray[np.float64]) -> list[float | int]:
    """As JSON, short."""
    return [int(value) if float(value).is_integer() else float(f"{value:.5g}") for value in values]

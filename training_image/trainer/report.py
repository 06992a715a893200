"""validation/report.html: one page that says what was trained, how it went and why it passed or not.

It holds all it needs, loads nothing and runs no script.
"""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from contract.run import ResolvedRun
from contract.verdict import Verdict
from training_image.trainer import charts

_PAGE = Path(__file__).with_name("report.html")


def render(
    run: ResolvedRun,
    verdict: Verdict,
    *,
    returns: list[float],
    curves: dict[int, list[dict[str, Any]]],
    summaries: dict[int, dict[str, Any]],
    document: dict[str, Any],
) -> str:
    """The page.

    `curves` and `summaries` hold each seed's metrics.jsonl and training.json, `document` the chosen model.json.
    """
    specification = run.specification
    threshold = verdict.min_return
    learning: dict[str, Sequence[charts.Point]] = {
        f"seed {seed}": [(line["timesteps"], line["mean_return"]) for line in lines if "mean_return" in line]
        for seed, lines in curves.items()
    }
    return Template(_PAGE.read_text(encoding="utf-8")).substitute(
        title=escape(f"{run.run_id}: {'passed' if verdict.passed else 'not passed'}"),
        run_id=escape(run.run_id),
        outcome="passed" if verdict.passed else "failed",
        badge="Passed" if verdict.passed else "Not passed",
        reason=escape(verdict.reason),
        subject=escape(f"{specification.algorithm.name.upper()} in {specification.environment.id}"),
        figures=_figures(
            ("mean return", f"{verdict.mean_return:.4g}"),
            (f"at least, with {100 * verdict.confidence:g} % confidence", f"{verdict.lower_bound:.4g}"),
            ("required", f"{threshold:g}"),
            ("held-out episodes", f"{verdict.episodes:,}"),
            ("worst and best episode", f"{verdict.min_episode_return:.4g} to {verdict.max_episode_return:.4g}"),
            ("mean length of an episode", f"{verdict.mean_length:.4g}"),
        ),
        curves=charts.lines(learning, x_label="environment steps", y_label="mean return", threshold=threshold),
        legend=_legend(list(learning)),
        histogram=charts.histogram(returns, x_label="return", y_label="episodes", threshold=threshold),
        seeds=_table(
            ("seed", "steps", "seconds", "steps/s", "attempts", "mean return in training", "in evaluation"),
            (_seed_row(seed, summary, verdict) for seed, summary in summaries.items()),
        ),
        hyperparameters=_table(("hyperparameter", "value"), document["hyperparameters"].items()),
        versions=_table(("package", "version"), document["versions"].items()),
        onnx=f"{verdict.onnx_observations:,}",
        reproduce=escape(_reproduce(run, verdict.seed)),
        source=escape(f"s3://{run.source.bucket}/{run.source.key}, version {run.source.version_id}"),
        submitted=escape(run.submitted_at),
    )


def _seed_row(seed: int, summary: dict[str, Any], verdict: Verdict) -> tuple[object, ...]:
    mean = summary.get("mean_return")
    return (
        f"{seed} (chosen)" if seed == verdict.seed else seed,
        f"{summary.get('timesteps', 0):,}",
        f"{summary.get('wall_seconds', 0):.1f}",
        f"{summary.get('steps_per_second') or 0:,.0f}",
        summary.get("attempts", 1),
        "-" if mean is None else f"{mean:.4g}",
        f"{verdict.candidates[str(seed)]:.4g}",
    )


def _reproduce(run: ResolvedRun, seed: int) -> str:
    """The command that trains the same policy by hand."""
    specification = run.specification
    words = [
        "python training_image/train_rl.py",
        f"--env {specification.environment.id}",
        f"--algo {specification.algorithm.name}",
        f"--timesteps {specification.timesteps}",
        f"--seed {seed}",
    ]
    words += [f"--set {name}={value}" for name, value in specification.algorithm.hyperparameters.items()]
    return " ".join(words)


def _figures(*figures: tuple[str, str]) -> str:
    return "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in figures)


def _legend(names: list[str]) -> str:
    keys = (
        f'<span><i class="series-{index % charts.SERIES_COLOURS}"></i>{escape(name)}</span>'
        for index, name in enumerate(names)
    )
    return f'<p class="legend">{"".join(keys)}<span><i class="threshold"></i>required</span></p>'


def _table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    def row(tag: str, cells: tuple[object, ...]) -> str:
        return f"<tr>{''.join(f'<{tag}>{escape(str(cell))}</{tag}>' for cell in cells)}</tr>"

    return f"<table><thead>{row('th', head)}</thead><tbody>{''.join(row('td', tuple(r)) for r in rows)}</tbody></table>"

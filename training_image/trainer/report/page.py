"""Puts the report together."""

import base64
import json
import shlex
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from contract.dataset import Dataset
from contract.run import ResolvedRun
from contract.verdict import Verdict
from training_image.trainer.report import advice, curves
from training_image.trainer.report.rendering import Film, poster

_HERE = Path(__file__).parent
_DRAWING = ("charts/uPlot.iife.min.js", "charts/charts.js", "page.js")
_STYLES = ("charts/uPlot.min.css", "charts/theme.css", "page.css")


def render(
    run: ResolvedRun,
    verdict: Verdict,
    *,
    returns: dict[str, list[float]],
    metrics: dict[int, list[dict[str, Any]]],
    evaluations: dict[int, list[dict[str, Any]]],
    summaries: dict[int, dict[str, Any]],
    document: dict[str, Any],
    films: list[Film],
    no_film: str,
    dataset: Dataset | None,
) -> str:
    """The page. It holds all it needs and loads nothing.

    :param returns: of the held-out episodes, by what policy played them, the chosen one first; empty where none was.
    :param metrics: each seed's metrics.jsonl; `evaluations` and `summaries` its evaluations.jsonl and training.json.
    :param document: model.json of the chosen seed.
    :param no_film: why the episodes were not filmed, or not all of them.
    :param dataset: dataset.json, of a run that learns from data.
    """
    specification = run.specification
    threshold = verdict.min_return
    return _TEMPLATE.render(
        styles=Markup("\n".join(_text(name) for name in _STYLES)),  # noqa: S704 - files of this folder
        scripts=Markup("\n".join(_text(name) for name in _DRAWING)),  # noqa: S704
        run=run,
        verdict=verdict,
        films=[_film(film) for film in films],
        no_film=no_film,
        dataset=dataset,
        subject=f"{specification.algorithm.name.upper()} "
        + (f"in {specification.environment.id}" if specification.environment.is_simulated else "from a log alone"),
        suggestions=[_code(sentence) for sentence in advice.suggestions(verdict, metrics)],
        learning=curves.learning(metrics, level=threshold) if _has_returns(metrics) else None,
        evaluated=curves.learning(evaluations, level=threshold) if any(evaluations.values()) else None,
        histogram=curves.histogram(returns, level=threshold) if returns else None,
        measures=curves.measures(metrics),
        seeds=[_seed(seed, summaries[seed], verdict) for seed in specification.seeds],
        timeline=[entry for seed in specification.seeds for entry in _timeline(seed, summaries[seed])],
        cost=_cost(summaries.values()),
        hyperparameters=document["hyperparameters"],
        given=specification.algorithm.hyperparameters,
        versions=document["versions"],
        command=_command(run, verdict.seed),
        run_file=yaml.safe_dump(specification.model_dump(mode="json"), sort_keys=False, default_flow_style=None),
    )


def _has_returns(metrics: dict[int, list[dict[str, Any]]]) -> bool:
    return any("mean_return" in line for lines in metrics.values() for line in lines)


def number(value: float | None, digits: int = 4) -> str:
    """A figure for people; a dash where there is none."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def _film(film: Film) -> dict[str, Any]:
    return {
        "name": film.name,
        "title": f"{film.name.capitalize()} episode",
        "about": f"returned {number(film.episode_return)} in {film.length:,} steps; "
        + (f"shows {film.seconds:.0f} s" if film.is_whole else f"shows its first {film.seconds:.0f} s")
        + f", {len(film.content) / 1024:,.0f} KiB",
        "content": "data:image/webp;base64," + base64.b64encode(film.content).decode(),
        "poster": "data:image/webp;base64," + base64.b64encode(poster(film.content)).decode(),
    }


def _seed(seed: int, summary: dict[str, Any], verdict: Verdict) -> dict[str, Any]:
    total, interruptions = summary.get("total_timesteps", 0), summary.get("interruptions", [])
    return {
        "seed": seed,
        "chosen": seed == verdict.seed,
        "timesteps": summary.get("timesteps", 0),
        "seconds": summary.get("wall_seconds", 0),
        "speed": summary.get("steps_per_second"),
        "attempts": summary.get("attempts", 1),
        "in_training": summary.get("mean_return"),
        "held_out": verdict.candidates.get(str(seed)),
        "cuts": [min(100.0, 100 * one["timesteps"] / total) for one in interruptions if total],
    }


def _timeline(seed: int, summary: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What happened to a seed's training, in its order."""
    if started := summary.get("started_at"):
        yield {"seed": seed, "at": started, "what": "training began"}
    for number_, interruption in enumerate(summary.get("interruptions", []), 1):
        what = f"attempt {number_} ended at step {interruption['timesteps']:,}: {interruption['reason']}"
        yield {"seed": seed, "at": interruption.get("at"), "what": what + "; continued from its checkpoint"}
    if ended := summary.get("ended_at"):
        yield {"seed": seed, "at": ended, "what": str(summary.get("reason") or "ended")}


def _cost(summaries: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Seconds of training of all seeds, and dollars where their instances cost any."""
    rows = [(summary.get("wall_seconds", 0.0), summary.get("price_per_hour") or 0.0) for summary in summaries]
    return {
        "seconds": sum(seconds for seconds, _ in rows),
        "dollars": sum(seconds / 3600 * price for seconds, price in rows),
        "price": max((price for _, price in rows), default=0.0),
    }


def _command(run: ResolvedRun, seed: int) -> str:
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
    given = specification.environment.model_dump(include={"observation_space", "action_space"})
    words += [f"--set {shlex.quote(f'environment.{name}={json.dumps(space)}')}" for name, space in given.items()]
    if specification.data is not None:
        words.append("--data PREPARED")
    return " ".join(words)


def _chart(document: dict[str, Any]) -> Markup:
    """A chart's place in the page, with its document; nothing in it can end the script early."""
    content = json.dumps(document, separators=(",", ":")).replace("<", "\\u003c")
    return Markup(f'<figure class="chart"><script type="application/json">{content}</script></figure>')  # noqa: S704


def _code(sentence: str) -> Markup:
    """Text with `names` as code."""
    parts = escape(sentence).split("`")
    return Markup("".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts)))  # noqa: S704


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} m {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} m"


def _moment(text: str | None) -> str:
    """An ISO 8601 time in UTC, to the second."""
    return "" if text is None else text.partition("+")[0].partition(".")[0].replace("T", " ") + " UTC"


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"chart": _chart, "number": number, "duration": _duration, "moment": _moment}
    return environment.get_template("page.html")


_TEMPLATE = _template()
"""Compiled when this is imported: a quarter of a second that a process which waits for its job has had."""

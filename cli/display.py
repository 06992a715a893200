"""A run as a picture for the terminal."""

from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from cli.history import Stage
from cli.jobs import Job
from cli.narrate import log_text
from cli.output import duration, stdout
from cli.progress import SeedProgress, sparkline
from cli.watch import Snapshot
from contract.outcomes import Outcome

_MARKS = {
    "done": Text("✔", style="green"),
    "failed": Text("✘", style="red"),
    "pending": Text("·", style="dim"),
    "skipped": Text("-", style="dim"),
}
_SPINNER = Spinner("dots", style="cyan")
_JOB_STATES = {
    "SUBMITTED": "in the queue",
    "PENDING": "in the queue",
    "RUNNABLE": "waiting for an instance",
    "STARTING": "starting",
    "RUNNING": "running",
    "SUCCEEDED": "done",
    "FAILED": "failed",
}
_BAR_WIDTH = 16
_COLUMNS = (10, _BAR_WIDTH, 4, 14, 11, 12, 0)
"""Least widths of a seed's line: name, bar, share, speed, time left, return; the sparkline has the rest."""

_NEXT_STEPS = {
    Outcome.INVALID: "Mend the file and submit it again; `rlpipe validate PATH` checks it without starting anything.",
    Outcome.REJECTED: "`rlpipe report {run}` shows why. Train longer, with other hyperparameters or more seeds, or "
    "lower validation.min_return.",
    Outcome.STOPPED: "`rlpipe submit PATH` starts a new run.",
    Outcome.LIMIT: "Raise limits.max_hours or limits.max_cost_usd and submit it again.",
    Outcome.ROLLED_BACK: "`rlpipe report {run}` shows what was validated; the endpoint's log says what it answered. "
    "Once the cause is gone, `rlpipe resume {run}` deploys it again.",
    Outcome.FAILED: "`rlpipe logs {run}` shows everything that its jobs wrote; once the cause is gone, "
    "`rlpipe resume {run}` goes on from the step that failed.",
}


def outcome_style(outcome: Outcome | None) -> str:
    """The colour of an outcome."""
    if outcome is None:
        return "cyan"
    return {Outcome.SUCCEEDED: "green", Outcome.REJECTED: "yellow", Outcome.STOPPED: "yellow"}.get(outcome, "red")


def picture(snapshot: Snapshot | None, notice: str, now: datetime) -> RenderableType:
    """A run while it is watched."""
    parts: list[RenderableType] = []
    if snapshot is not None:
        title = Text.assemble((snapshot.run.run_id, "bold"), f"  {duration(snapshot.seconds(now))}")
        parts += [title, stages(snapshot, now)]
    if notice:
        parts.append(Text(notice, style="yellow", no_wrap=False, overflow="fold"))
    return Group(*parts)


def stages(snapshot: Snapshot, now: datetime) -> RenderableType:
    """The stages of a run, with the seeds under training and the verdict under validation."""
    parts: list[RenderableType] = []
    for stage in snapshot.stages:
        parts.append(_stage(stage, now))
        if stage.name == "Train" and stage.started is not None:
            parts += _training(snapshot)
        if stage.name == "Validate" and snapshot.decision:
            parts.append(Padding(Text(snapshot.decision, style="dim", no_wrap=False, overflow="fold"), (0, 0, 0, 4)))
    return Group(*parts)


def ending(snapshot: Snapshot) -> RenderableType:
    """How a run ended and what to do now."""
    outcome = snapshot.outcome
    assert outcome is not None, "only a run that is over has an ending"
    run_id = snapshot.run.run_id
    parts: list[RenderableType] = [Text.assemble((outcome, f"bold {outcome_style(outcome)}"), f"  {outcome.meaning}")]
    if outcome is Outcome.SUCCEEDED:
        if snapshot.endpoint:
            parts.append(Text(f"Ask it: {predict_command(snapshot)}"))
        parts.append(Text(f"Report: rlpipe report {run_id} --open"))
        return Group(*parts)
    if snapshot.reason:
        title, separator = ("Reasons", "\n") if "\n" in snapshot.reason else ("Reason", " ")
        parts.append(Text(f"{title}:{separator}{snapshot.reason}"))
    if tail := (snapshot.ending or {}).get("log_tail"):
        parts += [Text("Last log lines:"), *(Text(f"  {log_text(line)}", style="dim") for line in tail)]
    parts.append(Text("Next: " + _NEXT_STEPS[outcome].format(run=run_id)))
    return Group(*parts)


def run_table(records: list[dict[str, Any]], now: datetime) -> RenderableType:
    """Runs as the API lists them."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("run", "state"):
        table.add_column(column, no_wrap=True)
    for column in ("progress", "return", "cost", "age"):
        table.add_column(column, justify="right", no_wrap=True)
    for record in records:
        outcome = Outcome(record["state"]) if record["state"] in Outcome.__members__ else None
        wish = f" ({record['wish']} wished)" if record["wish"] else ""
        table.add_row(
            record["run_id"],
            Text(f"{record['state']}{wish}", style=outcome_style(outcome)),
            share(record),
            "" if record["mean_return"] is None else f"{record['mean_return']:.1f}",
            f"${record['cost_usd']:.2f}",
            age((now - datetime.fromisoformat(record["submitted_at"])).total_seconds()),
        )
    return table


def share(record: dict[str, Any]) -> str:
    """How much of its training is done."""
    total = record["total_timesteps"] * len(record["seeds"])
    return f"{min(1.0, record['timesteps'] / total):.0%}" if total else ""


def age(seconds: float) -> str:
    """`12 s`, `5 m`, `3 h`, `9 d`: to know it is enough."""
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def predict_command(snapshot: Snapshot) -> str:
    """A command that asks the endpoint for an action, with an observation of the right form where that is short."""
    observation: Any = "..."
    environment = ((snapshot.specification or {}).get("specification") or {}).get("environment") or {}
    from cli.run_files import known_environment  # the models of a run file are a third of a start

    known = known_environment(environment)
    if known is not None and known.observation_space.type == "Discrete":
        observation = 0
    elif known is not None and known.observation_space.shape and len(known.observation_space.shape) == 1:
        size = known.observation_space.shape[0]
        observation = [0] * size if size <= 32 else "..."
    text = str(observation).replace(" ", "") if observation != "..." else "[...]"
    return f"rlpipe predict {snapshot.endpoint} --observation '{text}'"


def _stage(stage: Stage, now: datetime) -> RenderableType:
    seconds = stage.seconds(now)
    row = Table.grid(padding=(0, 1))
    row.add_column(width=1)
    row.add_column(width=11)
    row.add_column()
    mark: RenderableType = _SPINNER if stage.state == "current" else _MARKS[stage.state]
    style = {"current": "bold", "pending": "dim", "skipped": "dim"}.get(stage.state, "")
    row.add_row(mark, Text(stage.name, style=style), Text("" if seconds is None else duration(seconds), style="dim"))
    return row


def _training(snapshot: Snapshot) -> list[RenderableType]:
    seeds = [(job, number) for job in snapshot.jobs if (number := job.name.removeprefix("seed-")).isdigit()]
    return [_seed(int(number), job, snapshot.progress.seeds.get(int(number))) for job, number in seeds]


def _seed(number: int, job: Job, progress: SeedProgress | None) -> RenderableType:
    name = Text(f"    seed {number}")
    if progress is None or not progress.total_timesteps:
        return Text.assemble(name, " ", (_JOB_STATES.get(job.status, job.status.lower()), "dim"))
    bar = ProgressBar(total=progress.total_timesteps, completed=progress.timesteps, width=_BAR_WIDTH)
    left = "" if progress.seconds_left is None else f"{duration(progress.seconds_left)} left"
    row = Table.grid(padding=(0, 1))
    for width in _COLUMNS:
        row.add_column(no_wrap=True, min_width=width)
    row.add_row(
        name,
        bar,
        Text(f"{progress.fraction:4.0%}"),
        Text(f"{progress.steps_per_second:,.0f} steps/s", style="dim"),
        Text({"SUCCEEDED": "", "FAILED": "failed"}.get(job.status, left), style="dim"),
        Text("" if progress.mean_return is None else f"return {progress.mean_return:.1f}"),
        Text(sparkline(progress.returns, max(4, min(32, stdout.width - sum(_COLUMNS) - len(_COLUMNS)))), style="green"),
    )
    return row

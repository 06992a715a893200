"""A run in plain lines, for pipes and logs: what is new since the last look."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from cli.output import duration
from cli.progress import SeedProgress
from cli.watch import Snapshot
from contract.events import decode
from contract.outcomes import Outcome

_FAILURES = {
    Outcome.INVALID: "the file was refused",
    Outcome.REJECTED: "did not pass",
    Outcome.STOPPED: "stopped",
    Outcome.LIMIT: "reached a limit",
}


def news(before: Snapshot | None, after: Snapshot, told: dict[int, int], now: datetime) -> Iterator[str]:
    """Lines for what happened between two looks at a run.

    Args:
        told: tenths of each seed's training that have been told; kept up to date here.
    """
    known = {stage.name: stage.state for stage in before.stages} if before else {}
    if before is None:
        yield f"{after.run.run_id}: started"
    for stage in after.stages:
        state_before = known.get(stage.name, "pending")
        if stage.state == state_before:
            continue
        if stage.state == "current":
            yield f"{stage.name}: started"
        elif stage.state in ("done", "failed"):
            yield from _of_training(after, told) if stage.name == "Train" else ()
            word = "done" if stage.state == "done" else _FAILURES.get(after.outcome or Outcome.FAILED, "failed")
            yield f"{stage.name}: {word} after {duration(stage.seconds(now) or 0)}"
            if stage.name == "Validate" and after.decision:
                yield f"  {after.decision}"
    yield from _of_training(after, told)


def _of_training(snapshot: Snapshot, told: dict[int, int]) -> Iterator[str]:
    """A line for each seed that has come a tenth further."""
    for seed in snapshot.progress.seeds.values():
        tenths = int(seed.fraction * 10)
        if tenths > told.get(seed.seed, -1) and seed.total_timesteps:
            told[seed.seed] = tenths
            yield f"  seed {seed.seed}: {progress_line(seed)}"


def progress_line(seed: SeedProgress) -> str:
    """How far one seed is, in words."""
    parts = [f"{seed.timesteps:,} of {seed.total_timesteps:,} steps"]
    if seed.steps_per_second:
        parts.append(f"{seed.steps_per_second:,.0f} steps/s")
    if seed.seconds_left and seed.timesteps < seed.total_timesteps:
        parts.append(f"{duration(seed.seconds_left)} left")
    if seed.mean_return is not None:
        parts.append(f"mean return {seed.mean_return:.1f}")
    return ", ".join(parts)


def metrics_line(event: Mapping[str, Any]) -> str:
    """A line of metrics in words, or what it says is wrong."""
    if "reason" in event:
        return str(event["reason"])
    named = [metric["Name"] for directive in event["_aws"]["CloudWatchMetrics"] for metric in directive["Metrics"]]
    values = {name: event[name] for name in named}
    means = {name: sum(it) / len(it) if isinstance(it, list) else it for name, it in values.items()}
    return "metrics: " + ", ".join(f"{name} {mean:.4g}" for name, mean in means.items())


def log_text(message: str) -> str:
    """A line of a container's log for people: an event in words, plain text as it is."""
    event = decode(message)
    if event is None:
        return message
    if event["event"] == "started":
        return f"begins at step {event['timesteps']:,} of {event['total_timesteps']:,}"
    if event["event"] == "progress":
        seed = SeedProgress(event["seed"])
        seed.take(event)
        return progress_line(seed)
    if event["event"] == "checkpoint":
        return f"checkpoint at step {event['timesteps']:,}"
    if event["event"] == "metrics":
        return metrics_line(event)
    if event["event"] == "validated":
        return f"{'passed' if event['passed'] else 'did not pass'}: {event['reason']}"
    return f"ends with exit code {event['exit_code']}: {event['reason']}"

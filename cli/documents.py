"""Runs as JSON documents, for programs."""

from typing import Any

from cli.artifacts import places
from cli.deployment import Deployment
from cli.runs import Run
from cli.watch import Snapshot, now


def run_summary(run: Run) -> dict[str, Any]:
    """What a list of runs says of each."""
    return {
        "run_id": run.run_id,
        "status": run.status,
        "outcome": run.outcome,
        "started_at": run.started,
        "ended_at": run.stopped,
        "seconds": round(((run.stopped or now()) - run.started).total_seconds(), 3),
    }


def run_document(snapshot: Snapshot, deployment: Deployment) -> dict[str, Any]:
    """Everything that is known of one run."""
    moment = now()
    return {
        **run_summary(snapshot.run),
        "meaning": snapshot.outcome.meaning if snapshot.outcome else None,
        "reason": snapshot.reason or None,
        "stages": [
            {
                "name": stage.name,
                "state": stage.state,
                "started_at": stage.started,
                "seconds": None if stage.started is None else round(stage.seconds(moment) or 0.0, 3),
            }
            for stage in snapshot.stages
        ],
        "jobs": [{"name": job.name, "status": job.status, "reason": job.reason or None} for job in snapshot.jobs],
        "seeds": [
            {
                "seed": seed.seed,
                "timesteps": seed.timesteps,
                "total_timesteps": seed.total_timesteps,
                "steps_per_second": seed.steps_per_second,
                "seconds_left": seed.seconds_left,
                "mean_return": seed.mean_return,
            }
            for seed in snapshot.progress.seeds.values()
        ],
        "verdict": snapshot.verdict,
        "endpoint": snapshot.endpoint,
        "artifacts": places(deployment, snapshot.run.run_id),
        "log_tail": (snapshot.ending or {}).get("log_tail") or [],
    }

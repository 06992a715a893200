"""Runs that somebody has open: each is looked at once a moment, however many pages ask."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from cli.artifacts import list_keys, read_lines
from cli.deployment import Deployment
from cli.errors import CliError, explain, is_passing
from cli.jobs import LogLine
from cli.watch import Observer, Snapshot
from contract.layout import METRICS, VIDEOS, RunLayout
from training_image.trainer.report import curves

MOST_RUNS = 40
"""Runs whose readings are kept; one that was not asked for longest is forgotten first."""

MOST_LINES = 500
"""Lines of the logs that a page shows."""


@dataclass(kw_only=True)
class View:
    """A run as the page shows it."""

    run_id: str
    record: dict[str, Any] | None = None
    """As the API tells it; None while it has none."""
    snapshot: Snapshot | None = None
    """Its execution, jobs and logs; None before it starts, or where these may not be read."""
    lines: deque[LogLine] = field(default_factory=lambda: deque(maxlen=MOST_LINES))
    videos: tuple[str, ...] = ()
    """Those of `VIDEOS` that were filmed."""
    notice: str = ""
    """What keeps the page from being up to date."""

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more."""
        return self.snapshot is not None and self.snapshot.run.is_over and self.snapshot.ending is not None

    @property
    def state(self) -> str:
        """The record's state; of a run that has no record the outcome of its execution."""
        if self.record is not None:
            return str(self.record["state"])
        if self.snapshot is None:
            return "UNKNOWN"
        return str(self.snapshot.outcome or "PREPARING")

    @property
    def specification(self) -> dict[str, Any]:
        """The run file with its defaults filled in; empty before the run is prepared."""
        found: dict[str, Any] = ((self.snapshot and self.snapshot.specification) or {}).get("specification", {})
        return found

    @property
    def required(self) -> float | None:
        """The mean return that validation asks for."""
        value: float | None = self.specification.get("validation", {}).get("min_return")
        return value


class Watched:
    """All runs that are looked at."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._runs: OrderedDict[str, _Watching] = OrderedDict()
        self._lock = threading.Lock()

    def view(self, run_id: str) -> View:
        """The run as it is now, or was a moment ago."""
        with self._lock:
            watching = self._runs.setdefault(run_id, _Watching(self._deployment, run_id))
            self._runs.move_to_end(run_id)
            while len(self._runs) > MOST_RUNS:
                self._runs.popitem(last=False)
        return watching.view()

    def again(self, run_id: str) -> None:
        """Look at a run anew when it is next asked for: it was told something."""
        with self._lock:
            if run_id in self._runs:
                self._runs[run_id].stale()

    def learning(self, view: View) -> dict[str, Any]:
        """The chart of a run's learning curves."""
        with self._lock:
            watching = self._runs.get(view.run_id) or _Watching(self._deployment, view.run_id)
        return curves.learning(watching.metrics(view), level=view.required)


class _Watching:
    """One run."""

    def __init__(self, deployment: Deployment, run_id: str) -> None:
        self._deployment = deployment
        self._observer = Observer(deployment, run_id)
        self._layout = RunLayout(run_id=run_id)
        self._view = View(run_id=run_id)
        self._looked = float("-inf")
        self._metrics: dict[int, list[dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def view(self) -> View:
        with self._lock:
            if not self._view.is_over and time.monotonic() - self._looked >= self._deployment.poll_seconds:
                self._look()
                self._looked = time.monotonic()
            return self._view

    def stale(self) -> None:
        with self._lock:
            self._looked = float("-inf")

    def _look(self) -> None:
        view = self._view
        view.notice = ""
        try:
            status, document = self._deployment.api.request("GET", f"/runs/{view.run_id}")
            if status == 200:
                view.record = document
            elif status != 404:
                view.notice = f"The API answers {status}: {document.get('message', '')}"
            snapshot = self._observer.look()
            if snapshot is not None:
                view.snapshot = snapshot
                view.lines.extend(snapshot.new_lines)
            if view.is_over:
                keys = list_keys(self._deployment, f"{self._layout.prefix}/validation/")
                view.videos = tuple(name for name in VIDEOS if self._layout.video(name) in keys)
        except Exception as error:
            view.notice = _words(error)

    def metrics(self, view: View) -> dict[int, list[dict[str, Any]]]:
        """Lines of metrics by seed: the file of a seed that is trained, else what its log has said so far."""
        seeds = view.snapshot.progress.seeds if view.snapshot else {}
        known = sorted({*(view.record or {}).get("seeds", []), *seeds})
        return {seed: self._of_seed(view, seed) for seed in known}

    def _of_seed(self, view: View, seed: int) -> list[dict[str, Any]]:
        if seed in self._metrics:
            return self._metrics[seed]
        jobs = (view.record or {}).get("jobs", {})
        trained = view.is_over or jobs.get(f"seed-{seed}", {}).get("status") == "SUCCEEDED"
        if trained and (lines := self._read(seed)):
            self._metrics[seed] = lines
            return lines
        progress = view.snapshot.progress.seeds.get(seed) if view.snapshot else None
        points: Iterable[tuple[int, float]] = progress.points if progress else ()
        return [{"timesteps": timesteps, "mean_return": value} for timesteps, value in points]

    def _read(self, seed: int) -> list[dict[str, Any]]:
        try:
            return read_lines(self._deployment, f"{self._layout.seed(seed)}/{METRICS}")
        except Exception as error:
            self._view.notice = _words(error)
            return []


def _words(error: Exception) -> str:
    """An error in a sentence for the page. Anything that is no error of AWS or ours is a fault, and is raised."""
    known = error if isinstance(error, CliError) else explain(error)
    if known is None:
        raise error
    again = " The run goes on; looking again." if is_passing(error) else ""
    return f"{known.message}. Next: {known.next_step}.{again}"

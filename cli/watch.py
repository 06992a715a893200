"""Looking at a run until it is over, through throttling and lost networks."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from cli import history
from cli.artifacts import read_json
from cli.deployment import Deployment
from cli.errors import CliError, is_passing
from cli.jobs import Job, LogLine, LogReader, jobs_of, queues
from cli.progress import RunProgress
from cli.runs import Run, describe
from contract.layout import RunLayout
from contract.outcomes import Outcome

_Answer = TypeVar("_Answer")

LONGEST_PAUSE = 30.0
"""Seconds between two tries to reach AWS."""

LOCAL_PATIENCE = 15.0
"""Seconds that this machine's AWS may be silent before it is taken for gone; an account is waited for without end."""

START_SECONDS, LOCAL_START_SECONDS = 120.0, 30.0
"""How long a dropped file may take to start its run in an account, and on this machine."""

ENDING_SECONDS = 10.0
"""How long to wait for outcome.json after the end: of an aborted run it is written a moment later."""


@dataclass(kw_only=True)
class Snapshot:
    """Everything that is known of a run at one moment."""

    run: Run
    stages: list[history.Stage]
    state: str = ""
    """The state of the state machine that was entered last."""
    jobs: list[Job] = field(default_factory=list)
    progress: RunProgress = field(default_factory=RunProgress)
    new_lines: list[LogLine] = field(default_factory=list)
    specification: dict[str, Any] | None = None
    """`run.json`, once the run is prepared."""
    verdict: dict[str, Any] | None = None
    ending: dict[str, Any] | None = None
    """`outcome.json`."""

    @property
    def outcome(self) -> Outcome | None:
        return self.run.outcome

    @property
    def reason(self) -> str:
        """Why it ended as it did."""
        recorded = str((self.ending or {}).get("reason", ""))
        # Whoever stopped it said why to Step Functions.
        return (self.run.cause or recorded) if self.outcome is Outcome.STOPPED else (recorded or self.run.cause)

    @property
    def decision(self) -> str:
        """What validation decided and why, in one sentence, as soon as it is known."""
        decision: Any = self.verdict or self.progress.validated
        return "" if decision is None else str(decision["reason"])

    @property
    def endpoint(self) -> str | None:
        """Where the policy serves or is going to, unless it only is to be kept."""
        deploy = ((self.specification or {}).get("specification") or {}).get("deploy") or {}
        return deploy.get("endpoint") if deploy.get("target", "none") != "none" else None

    def seconds(self, now: datetime) -> float:
        """How long the run took, or has taken so far."""
        return ((self.run.stopped or now) - self.run.started).total_seconds()


class Observer:
    """Reads one run again and again, each log line once."""

    def __init__(self, deployment: Deployment, run_id: str) -> None:
        self._deployment = deployment
        self._run_id = run_id
        self._layout = RunLayout(run_id=run_id)
        self._logs = LogReader(deployment)
        self._progress = RunProgress()
        self._queues: list[str] | None = None
        self._documents: dict[str, dict[str, Any]] = {}

    def look(self) -> Snapshot | None:
        """The run as it is now; None when it has not started."""
        run = describe(self._deployment, self._run_id)
        if run is None:
            return None
        events = history.read(self._deployment, run)
        stages = history.stages(events, run)
        entered = {stage.name for stage in stages if stage.started is not None}
        works = not entered.isdisjoint(("Prepare data", "Train"))
        jobs = self._jobs() if works else []
        lines = self._logs.read(jobs)
        self._progress.read(lines)
        return Snapshot(
            run=run,
            stages=stages,
            state=history.current_state(events),
            jobs=jobs,
            progress=self._progress,
            new_lines=lines,
            specification=self._document(self._layout.specification) if works else None,
            verdict=self._document(self._layout.verdict) if "Register" in entered or run.is_over else None,
            ending=self._document(self._layout.outcome) if run.is_over else None,
        )

    def _jobs(self) -> list[Job]:
        if self._queues is None:
            self._queues = queues(self._deployment)
        return jobs_of(self._deployment, self._run_id, self._queues)

    def _document(self, key: str) -> dict[str, Any] | None:
        """A document of the run. Each is written once, so it is read once."""
        if key not in self._documents:
            found = read_json(self._deployment, key)
            if found is None:
                return None
            self._documents[key] = found
        return self._documents[key]


class Patience:
    """Calls again what failed for a passing reason, ever more slowly, and says so.

    Args:
        say: told what is the matter and when the next try is; told "" once it is over.
        limit: seconds after which it is no longer taken for passing.
    """

    def __init__(self, say: Callable[[str], None], *, limit: float = float("inf")) -> None:
        self._say = say
        self._limit = limit

    def __call__(self, action: Callable[[], _Answer]) -> _Answer:
        """The action's answer. Raises its error when that will not pass by itself."""
        waited, pause = 0.0, 1.0
        while True:
            try:
                answer = action()
            except Exception as error:
                if not is_passing(error) or waited >= self._limit:
                    raise
                self._say(f"{_short(error)}; the run goes on, looking again in {pause:.0f} s")
                wait(pause)
                waited, pause = waited + pause, min(2 * pause, LONGEST_PAUSE)
            else:
                if waited:
                    self._say("")
                return answer


def follow(
    deployment: Deployment,
    run_id: str,
    show: Callable[[Snapshot], None],
    say: Callable[[str], None],
) -> Snapshot:
    """Show a run at every look until it is over; answers the last look.

    Args:
        show: given every snapshot.
        say: given what keeps the snapshots from coming, and "" when nothing does.

    Raises:
        CliError: the run does not start.
    """
    observer = Observer(deployment, run_id)
    patience = Patience(say, limit=LOCAL_PATIENCE if deployment.is_local else float("inf"))
    pause, waited = deployment.poll_seconds, 0.0
    longest = LOCAL_START_SECONDS if deployment.is_local else START_SECONDS
    while (snapshot := patience(observer.look)) is None:
        if waited >= longest:
            raise CliError(
                f"the run {run_id} has not started {longest:.0f} seconds after the drop",
                next_step="look at the trigger function's log, and at its dead letters",
            )
        say("dropped; waiting for the run to start")
        wait(pause)
        waited += pause
    say("")
    since_end = 0.0
    while True:
        show(snapshot)
        if snapshot.run.is_over:
            if snapshot.ending is not None or since_end >= ENDING_SECONDS:
                return snapshot
            since_end += pause
        wait(pause)
        snapshot = patience(observer.look) or snapshot


def wait(seconds: float) -> None:
    """Let time pass between two looks."""
    time.sleep(seconds)


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."

"""From an execution's history to the stages that people think in."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from cli.deployment import Deployment
from cli.runs import Run, execution_arn
from contract.outcomes import Outcome

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import HistoryEventTypeDef

STAGES = {
    "Prepare": ("Prepare", "IsValid", "Invalid"),
    "Prepare data": ("PrepareData", "EnterTraining"),
    "Train": ("Train", "TrainSeed", "SeedNotTrained", "IsTrained"),
    "Pause": ("Pause", "GiveUpPause"),
    "Validate": ("EnterValidating", "Validate", "ReadVerdict", "IsGoodEnough"),
    "Register": ("Register", "IsDeployed"),
    "Approve": ("AskForApproval", "WaitForApproval", "GiveUpApproval", "Approve", "Reject"),
    "Rehearse": (
        "EnterDeploying",
        "Rehearse",
        "IsRehearsing",
        "WaitForRehearsal",
        "TestRehearsal",
        "EndRehearsal",
        "HasRehearsed",
        "WaitForEndOfRehearsal",
        "MayShadow",
    ),
    "Shadow": ("Shadow", "IsShadowing", "WaitForShadow"),
    "Deploy": ("Deploy", "IsServing", "WaitForEndpoint"),
    "Smoke test": ("SmokeTest", "IsSame"),
    "Promote": ("Promote", "IsPromoted"),
    "Roll back": ("Restore", "IsRestored", "WaitForChampion"),
}
"""The stages in their order, and the states of the state machine that each is made of."""

BETWEEN = (
    "Begin",
    "ReadWish",
    "WhatIsWished",
    "IsClean",
    "IsClean",
    "Resume",
    "WhereItWas",
    "Finish",
    "GoesOn",
    "Succeeded",
)
"""States that belong to no stage: they begin and end every run, or ask what becomes of it."""

_STAGE_OF = {state: stage for stage, states in STAGES.items() for state in states}
_ONLY_WHEN_ENTERED = ("Prepare data", "Pause", "Approve", "Shadow", "Roll back")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of one run."""

    name: str
    state: Literal["pending", "current", "done", "failed", "skipped"]
    started: datetime | None = None
    ended: datetime | None = None

    def seconds(self, now: datetime) -> float | None:
        """How long it took, or has taken so far; None before it starts."""
        return None if self.started is None else max(0.0, ((self.ended or now) - self.started).total_seconds())


def read(deployment: Deployment, run: Run) -> list["HistoryEventTypeDef"]:
    """The whole history of a run, oldest event first."""
    pages = deployment.states.get_paginator("get_execution_history").paginate(
        executionArn=execution_arn(deployment, run.run_id),
        includeExecutionData=False,
        PaginationConfig={"PageSize": 1000},
    )
    return [event for page in pages for event in page["events"]]


def stages(events: Iterable["HistoryEventTypeDef"], run: Run) -> list[Stage]:
    """Every stage of a run. The last one entered has failed when the run ended otherwise than SUCCEEDED."""
    spans: dict[str, list[datetime | None]] = {}
    current = last = ""
    for event in events:
        state = _entered(event)
        stage = _STAGE_OF.get(state, "")
        if not state or stage == current:
            continue
        if current:
            spans[current][1] = event["timestamp"]
        if stage:
            spans.setdefault(stage, [event["timestamp"], None])[1] = None
            last = stage
        current = stage
    if run.is_over and current:
        spans[current][1] = run.stopped
    failed = last if run.outcome not in (None, Outcome.SUCCEEDED) else ""
    return [
        _stage(name, spans.get(name), failed=name == failed, over=run.is_over)
        for name in STAGES
        if name in spans or name not in _ONLY_WHEN_ENTERED
    ]


def current_state(events: Iterable["HistoryEventTypeDef"]) -> str:
    """The state of the state machine that was entered last."""
    return next((state for event in reversed(list(events)) if (state := _entered(event))), "")


def _stage(name: str, span: list[datetime | None] | None, *, failed: bool, over: bool) -> Stage:
    if span is None:
        return Stage(name=name, state="skipped" if over else "pending")
    started, ended = span
    if failed:
        return Stage(name=name, state="failed", started=started, ended=ended)
    return Stage(name=name, state="current" if ended is None else "done", started=started, ended=ended)


def _entered(event: "HistoryEventTypeDef") -> str:
    """The state that an event says was entered; nothing for any other event."""
    details: Any = event.get("stateEnteredEventDetails", {})
    return str(details.get("name", ""))

"""From states to stages."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.history import BETWEEN, STAGES, stages
from cli.runs import Run
from contract.outcomes import Outcome
from tests.unit.cli.fake_aws import BEGAN, Execution

DEPLOYED = ["Begin", "Prepare", "IsValid", "Train", "IsTrained", "Validate", "ReadVerdict", "IsGoodEnough", "Register",
            "IsDeployed", "EnterDeploying", "Rehearse", "IsRehearsing", "TestRehearsal", "EndRehearsal", "HasRehearsed",
            "Deploy", "IsServing", "WaitForEndpoint", "Deploy", "IsServing", "SmokeTest", "IsSame"]  # fmt: skip
PROMOTED = [*DEPLOYED, "Promote", "IsPromoted", "Finish", "GoesOn", "Succeeded"]


def _of(states: list[str], status: str = "RUNNING", error: str = "") -> dict[str, tuple[str, float | None]]:
    execution = Execution("r", status, states, error)
    run = Run(run_id="r", status=status, started=BEGAN, stopped=execution.stopped, error=error)
    now = BEGAN + timedelta(seconds=100)
    events: Any = execution.events
    return {stage.name: (stage.state, stage.seconds(now)) for stage in stages(events, run)}


def test_every_state_of_the_pipeline_belongs_somewhere() -> None:
    definition = json.loads((Path(__file__).parents[3] / "statemachine" / "pipeline.asl.json").read_text())
    states = set(definition["States"])
    for state in definition["States"].values():
        states |= set(state.get("ItemProcessor", {}).get("States", {}))
    assert states == {state for names in STAGES.values() for state in names} | set(BETWEEN)


def test_a_run_that_succeeded_has_done_every_stage() -> None:
    found = _of(PROMOTED, "SUCCEEDED")
    rehearsed = ["Rehearse", "Deploy", "Smoke test", "Promote"]
    assert list(found) == ["Prepare", "Train", "Validate", "Register", *rehearsed]
    assert {state for state, _ in found.values()} == {"done"}
    assert found["Rehearse"] == ("done", 6.0)
    assert found["Deploy"] == ("done", 5.0)
    assert found["Promote"] == ("done", 2.0)


def test_a_run_that_goes_on_counts_its_current_stage_up_to_now() -> None:
    found = _of(["Begin", "Prepare", "IsValid", "Train", "TrainSeed", "TrainSeed"])
    assert found["Prepare"] == ("done", 2.0)
    assert found["Train"] == ("current", 97.0)
    assert found["Validate"] == ("pending", None)


@pytest.mark.parametrize(
    ("states", "status", "error", "failed"),
    [
        (["Begin", "Prepare", "IsValid", "Invalid", "Finish"], "FAILED", "INVALID", "Prepare"),
        ([*DEPLOYED[:8], "Finish"], "FAILED", "REJECTED", "Validate"),
        (DEPLOYED[:4], "ABORTED", "", "Train"),
        (["Begin", "Prepare", "IsValid", "Train", "IsTrained", "Finish"], "FAILED", "LIMIT", "Train"),
    ],
)  # fmt: skip
def test_the_last_stage_of_any_other_run_has_failed(states: list[str], status: str, error: str, failed: str) -> None:
    found = _of(states, status, error)
    assert [name for name, (state, _) in found.items() if state == "failed"] == [failed]
    assert found["Promote"] == ("skipped", None)


def test_going_back_is_a_stage_only_when_it_happens() -> None:
    restored = ["Restore", "IsRestored", "WaitForChampion", "Restore", "Finish"]
    found = _of([*DEPLOYED, *restored], "FAILED", "ROLLED_BACK")
    assert found["Roll back"] == ("failed", 4.0)
    assert found["Smoke test"] == ("done", 2.0)
    assert "Roll back" not in _of(PROMOTED, "SUCCEEDED")


def test_a_failed_run_that_goes_on_is_where_it_went_on() -> None:
    failed = ["Begin", "Prepare", "IsValid", "Train", "IsTrained", "EnterValidating", "Validate", "ReadWish", "Finish"]
    found = _of([*failed, "Finish", "ReadWish", "WhatIsWished", "Resume", "WhereItWas", "Validate"])
    assert found["Validate"] == ("current", 95.0)
    assert "Pause" not in found


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [
        ("RUNNING", "", None),
        ("SUCCEEDED", "", Outcome.SUCCEEDED),
        ("ABORTED", "STOPPED", Outcome.STOPPED),
        ("TIMED_OUT", "", Outcome.FAILED),
        ("FAILED", "States.Runtime", Outcome.FAILED),
        *(("FAILED", outcome.value, outcome) for outcome in Outcome if outcome is not Outcome.SUCCEEDED),
    ],
)
def test_every_way_to_end_has_an_outcome(status: str, error: str, outcome: Outcome | None) -> None:
    assert Run(run_id="r", status=status, started=BEGAN, error=error).outcome is outcome

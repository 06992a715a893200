"""What the deployed definition does when a service hesitates or never answers."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.conftest import Stage

Task = tuple[str, dict[str, Any]]

# Their jobs have limits of their own, and may wait for an instance for hours before those count.
LIMITED_BY_BATCH = "arn:aws:states:::batch:submitJob.sync"


@pytest.fixture
def definition(stage: Stage) -> dict[str, Any]:
    text = stage.one("AWS::StepFunctions::StateMachine")["DefinitionString"]
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def test_an_execution_ends_at_some_time(definition: dict[str, Any]) -> None:
    assert 0 < definition["TimeoutSeconds"] <= 366 * 24 * 3600  # the longest that Step Functions knows


def test_no_step_waits_for_ever(definition: dict[str, Any]) -> None:
    endless = [
        name
        for name, task in _tasks(definition)
        if task["Resource"] != LIMITED_BY_BATCH and "TimeoutSeconds" not in task
    ]
    assert endless == []


def test_every_step_is_tried_again_when_the_service_hesitates(definition: dict[str, Any]) -> None:
    for name, task in _tasks(definition):
        assert task.get("Retry"), name
        retried = {error for rule in task["Retry"] for error in rule["ErrorEquals"]}
        assert [error for error in retried if error.endswith(("Exception", "States.TaskFailed"))], name
        for rule in task["Retry"]:
            assert rule["MaxAttempts"] >= 3, name
            assert rule["BackoffRate"] > 1, name


def test_no_job_is_submitted_again_because_it_failed(definition: dict[str, Any]) -> None:
    """Batch itself has retried what is worth it."""
    for name, task in _tasks(definition):
        if task["Resource"] == LIMITED_BY_BATCH:
            errors = {error for rule in task["Retry"] for error in rule["ErrorEquals"]}
            assert not errors & {"States.ALL", "States.TaskFailed", "Batch.AWSBatchException"}, name


def _tasks(definition: dict[str, Any]) -> Iterator[Task]:
    for name, state in definition["States"].items():
        if state["Type"] == "Task":
            yield name, state
        for inner in [*([state["ItemProcessor"]] if "ItemProcessor" in state else []), *state.get("Branches", [])]:
            yield from _tasks(inner)

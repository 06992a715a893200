"""An object's version starts one run, however often its event comes."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from contract.layout import run_id_of
from lambdas.trigger import handler as trigger

Stub = Callable[[Any], Stubber]
ARN = "arn:aws:states:us-east-1:000000000000:stateMachine:pipeline"


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_MACHINE_ARN", ARN)


def created(key: str, version: str) -> dict[str, Any]:
    return {"detail": {"bucket": {"name": "input"}, "object": {"key": key, "version-id": version}}}


def test_the_execution_is_named_by_the_object_and_gets_its_version(stub: Stub) -> None:
    run_id = run_id_of("input", "cartpole/run.yaml", "v1")
    expected = {
        "stateMachineArn": ARN,
        "name": run_id,
        "input": json.dumps(
            {
                "bucket": "input",
                "experiment": "cartpole",
                "key": "cartpole/run.yaml",
                "run_id": run_id,
                "version_id": "v1",
            }
        ),
    }
    states = stub(trigger._states)
    states.add_response("start_execution", {"executionArn": "arn", "startDate": 0}, expected)
    assert trigger.handler(created("cartpole/run.yaml", "v1"), None) == {"run_id": run_id, "started": True}


def test_a_second_delivery_starts_nothing_and_is_no_error(stub: Stub) -> None:
    states = stub(trigger._states)
    states.add_client_error(
        "start_execution", "ExecutionAlreadyExists", expected_params={"stateMachineArn": ARN, "name": ANY, "input": ANY}
    )
    assert trigger.handler(created("cartpole/run.yaml", "v1"), None)["started"] is False

"""After all other tests of the pipeline: each role was allowed all that it did, and is allowed nothing that it did not.

The embedded AWS enforces the deployed policies; here what it noted is judged once more, by another evaluator.
"""

from collections import defaultdict
from pathlib import Path

import pytest

from tests.pipeline.laptop import Laptop
from tests.pipeline.roles import Call, Grant, calls, grants, plain

PREFIX = "rlpipe-local-"

NOT_EMULATED = {
    "logs:CreateLogDelivery": "logs of executions",
    "logs:DeleteLogDelivery": "logs of executions",
    "logs:DescribeLogGroups": "logs of executions",
    "logs:DescribeResourcePolicies": "logs of executions",
    "logs:GetLogDelivery": "logs of executions",
    "logs:ListLogDeliveries": "logs of executions",
    "logs:PutResourcePolicy": "logs of executions",
    "logs:UpdateLogDelivery": "logs of executions",
    "xray:GetSamplingRules": "traces",
    "xray:GetSamplingTargets": "traces",
    "xray:PutTelemetryRecords": "traces",
    "xray:PutTraceSegments": "traces",
}
"""Actions that no call here can need, by what the embedded AWS lacks."""

_UNDELIVERED = "an event that the function failed on three times; the conformance suite holds that it is kept"
_POLLED = "AWS polls the queue in the function's name; the laptop's AWS does so in its own"
_SCALED = "endpoints of the laptop's settings do not scale; tests/unit/lambdas holds the calls"
UNUSED = {
    ("api-ControlRole", "sqs:SendMessage"): _UNDELIVERED,
    ("events-DataArrivedRole", "sqs:ChangeMessageVisibility"): _POLLED,
    ("events-DataArrivedRole", "sqs:DeleteMessage"): _POLLED,
    ("events-DataArrivedRole", "sqs:GetQueueAttributes"): _POLLED,
    ("events-DataArrivedRole", "sqs:GetQueueUrl"): _POLLED,
    ("events-DataArrivedRole", "sqs:ReceiveMessage"): _POLLED,
    ("events-SweeperFunctionRole", "sqs:SendMessage"): _UNDELIVERED,
    ("events-SweeperFunctionRole", "states:StopExecution"): "a job vanishes from an account's queue, not from here",
    ("pipeline-EndpointsFunctionRole", "application-autoscaling:DeregisterScalableTarget"): _SCALED,
    ("pipeline-EndpointsFunctionRole", "application-autoscaling:PutScalingPolicy"): _SCALED,
    ("pipeline-EndpointsFunctionRole", "application-autoscaling:RegisterScalableTarget"): _SCALED,
    ("pipeline-EndpointsFunctionRole", "iam:CreateServiceLinkedRole"): _SCALED,
    ("pipeline-EndpointsFunctionRole", "sagemaker:UpdateEndpointWeightsAndCapacities"): _SCALED,
    ("pipeline-EndpointsFunctionRole", "sqs:SendMessage"): _UNDELIVERED,
    ("pipeline-FinishRole", "sqs:SendMessage"): _UNDELIVERED,
    ("pipeline-JobsPrepareDataRole", "s3:ListBucket"): "all that it reads is there; else it would be told so",
    ("pipeline-JobsTrainRole", "s3:DeleteObject"): "checkpoints beyond `checkpoint.keep`; no run here trains that long",
    ("pipeline-SchedulesRole", "sqs:SendMessage"): "a schedule that could not call its function",
    ("serving-ModelRole", "s3:PutObject"): "SageMaker writes what it captures as this role; the laptop's AWS as itself",
}
"""Grants that no test of the pipeline uses, by role and action, each with its reason."""

SELDOM = {
    ("alerts-AlertRole", "sqs:SendMessage"): _UNDELIVERED,
    ("api-ControlRole", "states:DescribeExecution"): "of two who resume a run at once, the slower one looks",
}
"""Grants that a run of the tests may or may not use."""


@pytest.fixture(scope="module")
def noted(laptop: Laptop) -> list[Call]:
    return [call for call in calls(laptop.state_dir / "calls.jsonl") if call.role.startswith(PREFIX)]


@pytest.fixture(scope="module")
def granted(laptop: Laptop) -> list[Grant]:
    return list(grants(laptop.client("iam"), PREFIX))


def test_every_call_was_allowed(noted: list[Call]) -> None:
    assert [f"{plain(call.role)}: {call.action} on {call.resource}" for call in noted if not call.allowed] == []
    assert len(noted) > 100, "nothing was noted"


def test_another_evaluator_allows_them_too(noted: list[Call], granted: list[Grant]) -> None:
    of_role = defaultdict(list)
    for grant in granted:
        of_role[grant.role].append(grant)
    denied = [call for call in noted if not any(grant.allows(call) for grant in of_role[call.role])]
    assert denied == []


def test_every_grant_was_used_or_has_its_reason(
    request: pytest.FixtureRequest, noted: list[Call], granted: list[Grant]
) -> None:
    _needs_all_tests(request)
    unused = {
        (plain(grant.role).removeprefix(PREFIX), grant.action)
        for grant in granted
        if grant.action not in NOT_EMULATED and not any(grant.allows(call) for call in noted)
    }
    assert sorted(unused - set(UNUSED) - set(SELDOM)) == [], "granted, and never used"
    assert sorted(set(UNUSED) - unused) == [], "used after all, so it needs no reason"


def test_without_any_one_used_grant_some_call_is_denied(
    request: pytest.FixtureRequest, noted: list[Call], granted: list[Grant]
) -> None:
    """The mutants of the policies: each action of each statement is taken away in turn, and must be missed.

    What another grant allows as well is granted twice.
    """
    _needs_all_tests(request)
    of_role = defaultdict(list)
    for call in noted:
        of_role[call.role].append(call)
    mutants = [grant for grant in granted if any(grant.allows(call) for call in of_role[grant.role])]
    survivors = [
        str(mutant)
        for mutant in mutants
        if not any(
            not any(other.allows(call) for other in granted if other != mutant and other.role == call.role)
            for call in of_role[mutant.role]
            if mutant.allows(call)
        )
    ]
    assert survivors == [], f"of {len(mutants)} grants taken away one at a time"
    assert len(mutants) > 50


def _needs_all_tests(request: pytest.FixtureRequest) -> None:
    folder = Path(__file__).parent
    ran = {item.path for item in request.session.items}
    others = set(folder.glob("test_*.py")) - {folder / "test_stacks_come_and_go.py"}  # has instances of its own
    missing = sorted(path.name for path in others - ran)
    if missing or request.config.getoption("keyword") or request.config.getoption("deselect"):
        pytest.skip(f"only after all tests of the pipeline; missing: {', '.join(missing) or 'some'}")
    failed = request.session.testsfailed
    if failed:
        pytest.skip(f"{failed} tests failed before, so some calls were not made")

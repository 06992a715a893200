"""Watching a run to its end, whatever happens meanwhile."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from rich.console import Console

from cli import display, watch
from cli.deployment import find
from contract.outcomes import Outcome
from tests.unit.cli.conftest import Said
from tests.unit.cli.fake_aws import Execution, FakeAws, FakeJob, refusal
from tests.unit.cli.test_history import PROMOTED

RUN = "cartpole-0123456789ab"
Script = Callable[[list[Callable[[], object]]], None]


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Script:
    """What happens during each wait, one step a wait; waiting longer than that is a failure of the test."""

    def script(steps: list[Callable[[], object]]) -> None:
        remaining = iter(steps)
        monkeypatch.setattr("cli.watch.wait", lambda _seconds: next(remaining)())

    return script


@pytest.fixture
def run(aws: FakeAws) -> Execution:
    aws.executions[RUN] = Execution(RUN, states=["Begin", "Prepare"])
    return aws.executions[RUN]


def _end(aws: FakeAws, run: Execution, outcome: Outcome, reason: str = "why", **more: Any) -> None:
    run.status = {"SUCCEEDED": "SUCCEEDED", "STOPPED": "ABORTED"}.get(outcome, "FAILED")
    run.error, run.cause = ("", "") if outcome is Outcome.SUCCEEDED else (outcome, reason)
    aws.put(f"runs/{RUN}/outcome.json", {"outcome": outcome, "reason": reason, **more})


def test_a_run_is_told_from_start_to_end(
    aws: FakeAws, run: Execution, rlpipe: Callable[..., Said], meanwhile: Script
) -> None:
    job = FakeJob(f"{RUN}-seed-0")
    progress: dict[str, Any] = {"event": "progress", "seed": 0, "total_timesteps": 1000, "steps_per_second": 100.0}

    def trains() -> None:
        run.states += ["IsValid", "Train"]
        aws.jobs.append(job)

    def advances(timesteps: int, mean_return: float) -> Callable[[], None]:
        document = {**progress, "timesteps": timesteps, "seconds_left": 5.0, "mean_return": mean_return}
        return lambda: job.lines.append(json.dumps(document))

    def ends() -> None:
        run.states[:] = PROMOTED
        aws.put(f"runs/{RUN}/validation/verdict.json", {"reason": "The policy passed: 499 of 475.", "passed": True})
        _end(aws, run, Outcome.SUCCEEDED)

    meanwhile([trains, advances(250, 20.0), advances(260, 21.0), advances(990, 480.0), ends])
    said = rlpipe("watch", RUN)
    assert said.exit_code == 0
    assert [line.strip() for line in said.stdout.splitlines()] == [
        f"{RUN}: started",
        "Prepare: started",
        "Prepare: done after 2.0 s",
        "Train: started",
        "seed 0: 250 of 1,000 steps, 100 steps/s, 5.0 s left, mean return 20.0",
        "seed 0: 990 of 1,000 steps, 100 steps/s, 5.0 s left, mean return 480.0",
        "Train: done after 2.0 s",
        "Validate: done after 3.0 s",
        "The policy passed: 499 of 475.",
        "Register: done after 2.0 s",
        "Rehearse: done after 6.0 s",
        "Deploy: done after 5.0 s",
        "Smoke test: done after 2.0 s",
        "Promote: done after 2.0 s",
        f"SUCCEEDED  {Outcome.SUCCEEDED.meaning}",
        f"Report: rlpipe report {RUN} --open",
    ]


@pytest.mark.parametrize(
    ("outcome", "exit_code"),
    [
        (Outcome.SUCCEEDED, 0),
        (Outcome.INVALID, 2),
        (Outcome.REJECTED, 1),
        (Outcome.STOPPED, 1),
        (Outcome.LIMIT, 75),
        (Outcome.ROLLED_BACK, 1),
        (Outcome.FAILED, 1),
    ],
)
def test_every_outcome_has_its_exit_code_its_reason_and_a_next_step(
    aws: FakeAws, run: Execution, rlpipe: Callable[..., Said], outcome: Outcome, exit_code: int
) -> None:
    _end(aws, run, outcome, "one\ntwo", log_tail=["its last words"])
    said = rlpipe("watch", RUN)
    assert said.exit_code == exit_code
    assert outcome.meaning in said.stdout
    if outcome is not Outcome.SUCCEEDED:
        assert "Reasons:\none\ntwo\n" in said.stdout
        assert "its last words" in said.stdout
        assert "Next: " in said.stdout
    document = rlpipe("watch", RUN, "--json")
    assert (document.exit_code, document.document["outcome"]) == (exit_code, outcome)
    assert outcome.meaning in document.stderr


def test_an_aborted_run_is_waited_for_until_its_outcome_is_written(
    aws: FakeAws, run: Execution, rlpipe: Callable[..., Said], meanwhile: Script
) -> None:
    run.status, run.cause = "ABORTED", "in the console"
    meanwhile([lambda: aws.put(f"runs/{RUN}/outcome.json", {"reason": "", "log_tail": ["late"]})])
    assert "late" in rlpipe("watch", RUN).stdout


def test_an_outcome_that_is_never_written_is_not_waited_for_without_end(
    aws: FakeAws, run: Execution, rlpipe: Callable[..., Said]
) -> None:
    run.status, run.error, run.cause = "FAILED", "States.Runtime", "no such state"
    said = rlpipe("watch", RUN)
    assert said.exit_code == 1
    assert "Reason: no such state" in said.stdout


def test_throttling_and_lost_networks_are_sat_out_and_named(
    aws: FakeAws, run: Execution, rlpipe: Callable[..., Said], meanwhile: Script
) -> None:
    def loses_the_network() -> None:
        aws.failures = [
            EndpointConnectionError(endpoint_url="https://states.example"),
            ReadTimeoutError(endpoint_url="https://states.example"),
            refusal("ThrottlingException", "DescribeExecution"),
            refusal("InternalError", "DescribeExecution", status=503),
        ]

    meanwhile([loses_the_network, *[lambda: None] * 4, lambda: _end(aws, run, Outcome.SUCCEEDED)])
    said = rlpipe("watch", RUN)
    assert said.exit_code == 0
    assert "Could not connect" in said.stderr
    assert "the run goes on, looking again in 1 s" in said.stderr
    assert "looking again in 8 s" in said.stderr


def test_a_line_is_not_lost_to_a_failure_between_two_reads(
    aws: FakeAws, run: Execution, rlpipe: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    run.states = ["Begin", "Prepare", "IsValid", "Train"]
    aws.jobs = [FakeJob(f"{RUN}-seed-0", lines=["a"]), FakeJob(f"{RUN}-seed-1", lines=["b"])]
    read, calls = aws.get_log_events, []

    def fails_once(**request: Any) -> Any:
        calls.append(request)
        if len(calls) == 3:  # seed 0 has been read; seed 1 is refused
            _end(aws, run, Outcome.SUCCEEDED)
            raise refusal("ThrottlingException", "GetLogEvents")
        return read(**request)

    monkeypatch.setattr(aws, "get_log_events", fails_once)
    said = rlpipe("logs", RUN, "--follow")
    assert [line.split()[-1] for line in said.stdout.splitlines()] == ["a", "b"]


def test_what_will_not_pass_ends_the_watch(aws: FakeAws, run: Execution, rlpipe: Callable[..., Said]) -> None:
    aws.failures = [refusal("ExpiredTokenException", "DescribeExecution")]
    said = rlpipe("watch", RUN)
    assert said.exit_code == 2
    assert "aws sso login" in said.stderr


def test_this_machines_aws_is_not_waited_for_without_end(
    aws: FakeAws, run: Execution, rlpipe: Callable[..., Said], monkeypatch: pytest.MonkeyPatch, meanwhile: Script
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")

    def goes_down() -> None:
        aws.failures = [EndpointConnectionError(endpoint_url="http://127.0.0.1:4566")] * 9

    meanwhile([goes_down, *[lambda: None] * 4])
    said = rlpipe("watch", RUN)
    assert said.exit_code == 1
    assert "rlpipe local status" in said.stderr


def test_ctrl_c_leaves_the_run_going_and_says_so(
    aws: FakeAws, run: Execution, rlpipe: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cli.watch.wait", interrupt)
    said = rlpipe("watch", RUN)
    assert said.exit_code == 130
    assert "The run goes on" in said.stderr
    assert run.status == "RUNNING"
    assert "stop_execution" not in aws.calls


def test_a_terminal_gets_a_picture(aws: FakeAws, run: Execution) -> None:
    run.states = ["Begin", "Prepare", "IsValid", "Train"]
    progress: dict[str, Any] = {"event": "progress", "seed": 3, "total_timesteps": 1000, "steps_per_second": 2000.0}
    returns = [
        json.dumps({**progress, "timesteps": n * 100, "seconds_left": 61.0, "mean_return": float(n)})
        for n in range(1, 6)
    ]
    aws.jobs = [FakeJob(f"{RUN}-seed-3", lines=returns), FakeJob(f"{RUN}-seed-4", status="RUNNABLE")]
    snapshot = watch.Observer(find(), RUN).look()
    console = Console(record=True, width=80, force_terminal=True, file=io.StringIO())
    console.print(display.picture(snapshot, "connection lost", watch.now()))
    text = console.export_text()
    assert "✔ Prepare" in text
    (seed,) = [line.split() for line in text.splitlines() if "seed 3" in line]
    assert seed[3:] == ["50%", "2,000", "steps/s", "1", "m", "01", "s", "left", "return", "5.0", "▁▃▅▆█"]
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "waiting for an instance" in text
    assert "· Validate" in text
    assert "connection lost" in text

"""Looking at runs that exist, and fetching what they left."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from contract.events import encode
from tests.unit.cli.conftest import Said
from tests.unit.cli.fake_aws import ARTIFACTS, BEGAN, Execution, FakeAws, FakeJob, record
from tests.unit.cli.test_history import DEPLOYED, PROMOTED

RUN = "cartpole-0123456789ab"


@pytest.fixture
def world(aws: FakeAws) -> FakeAws:
    """A run that trains, one that succeeded before it and one that was rejected first."""
    aws.executions = {
        RUN: Execution(RUN, states=DEPLOYED[:4], started=BEGAN + timedelta(hours=2)),
        "cartpole-done": Execution("cartpole-done", "SUCCEEDED", PROMOTED, started=BEGAN + timedelta(hours=1)),
        "pendulum-no": Execution("pendulum-no", "FAILED", DEPLOYED[:8], "REJECTED", "too low"),
    }
    return aws


def test_runs_are_listed_as_the_table_has_them(aws: FakeAws, rlpipe: Callable[..., Said]) -> None:
    assert "There is no run yet" in rlpipe("runs").stdout
    aws.records = {
        "new": record("new", timesteps=500, mean_return=21.25, cost_usd=0.42, wish="pause"),
        "old": record("old", "SUCCEEDED", timesteps=1024),
        **{f"older-{number}": record(f"older-{number}", "INVALID", total_timesteps=0) for number in range(150)},
    }
    header, first, second, *_ = rlpipe("runs", "--limit", "3").stdout.splitlines()
    assert header.split() == ["run", "state", "progress", "return", "cost", "age"]
    assert first.split()[:7] == ["new", "TRAINING", "(pause", "wished)", "50%", "21.2", "$0.42"]
    assert second.split()[:4] == ["old", "SUCCEEDED", "100%", "$0.00"]
    assert len(rlpipe("runs", "--json", "--limit", "120").document) == 120


@pytest.mark.parametrize("reference", [RUN, "cartpole-0", "latest"])
def test_a_run_is_found_by_its_id_the_beginning_of_it_or_latest(
    world: FakeAws, rlpipe: Callable[..., Said], reference: str
) -> None:
    assert rlpipe("show", reference, "--json").document["run_id"] == RUN


@pytest.mark.parametrize(
    ("reference", "message"),
    [("cart", "may mean 2 runs: cartpole-0123456789ab, cartpole-done"), ("x", "no run is called")],
)
def test_a_reference_that_is_not_one_run_is_refused(
    world: FakeAws, rlpipe: Callable[..., Said], reference: str, message: str
) -> None:
    said = rlpipe("show", reference)
    assert said.exit_code == 2
    assert message in said.stderr


def test_latest_needs_a_run(aws: FakeAws, rlpipe: Callable[..., Said]) -> None:
    assert "rlpipe submit PATH" in rlpipe("watch", "latest").stderr


def test_show_tells_what_is_known_of_a_run(world: FakeAws, rlpipe: Callable[..., Said]) -> None:
    world.put("runs/pendulum-no/outcome.json", {"reason": "the bound is -300, below -200", "log_tail": []})
    world.put("runs/pendulum-no/validation/verdict.json", {"reason": "did not reach -200", "passed": False})
    document = rlpipe("show", "pendulum", "--json").document
    assert (document["outcome"], document["reason"]) == ("REJECTED", "the bound is -300, below -200")
    assert document["verdict"]["passed"] is False
    assert document["artifacts"]["report"] == f"s3://{ARTIFACTS}/runs/pendulum-no/validation/report.html"
    assert [s["state"] for s in document["stages"]] == ["done", "done", "failed"] + ["skipped"] * 5
    text = rlpipe("show", "pendulum").stdout
    assert "Reason: the bound is -300, below -200" in text
    assert "did not reach -200" in text
    assert f"s3://{ARTIFACTS}/runs/pendulum-no/" in text


def test_show_says_how_to_ask_what_serves(world: FakeAws, rlpipe: Callable[..., Said]) -> None:
    specification = {"environment": {"id": "CartPole-v1"}, "deploy": {"target": "sagemaker", "endpoint": "carts"}}
    world.put("runs/cartpole-done/run.json", {"specification": specification})
    assert "rlpipe predict carts --observation '[0,0,0,0]'" in rlpipe("show", "cartpole-d").stdout


def test_logs_are_those_of_every_job_and_attempt_in_order(world: FakeAws, rlpipe: Callable[..., Said]) -> None:
    world.jobs = [
        FakeJob(f"{RUN}-seed-10", lines=["ten"]),
        FakeJob(f"{RUN}-seed-0", lines=["second attempt"], earlier_attempts=[["first", "attempt"]]),
        FakeJob(f"{RUN}-seed-1", status="RUNNABLE"),
        FakeJob("cartpole-done-seed-0", lines=["of another run"]),
    ]
    lines = rlpipe("logs", RUN, "--json").document["lines"]
    assert [(line["job"], line["message"]) for line in lines] == [
        ("seed-0", "first"),
        ("seed-0", "attempt"),
        ("seed-0", "second attempt"),
        ("seed-10", "ten"),
    ]
    assert "second attempt" in rlpipe("logs", RUN).stdout


def test_following_logs_prints_each_line_once_and_ends_with_the_run(
    world: FakeAws, rlpipe: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = FakeJob(f"{RUN}-seed-0", lines=["one"])
    world.jobs = [job]

    def time_passes(_seconds: float) -> None:
        job.lines.append(f"line {len(job.lines) + 1}")
        if len(job.lines) == 4:
            world.executions[RUN].status = "SUCCEEDED"
            world.put(f"runs/{RUN}/outcome.json", {"reason": ""})

    monkeypatch.setattr("cli.watch.wait", time_passes)
    said = rlpipe("logs", RUN, "--follow")
    assert [line.split()[-1] for line in said.stdout.splitlines()] == ["one", "2", "3", "4"]
    assert said.exit_code == 0


def test_report_is_downloaded(world: FakeAws, rlpipe: Callable[..., Said], tmp_path: Path) -> None:
    world.objects[ARTIFACTS, "runs/cartpole-done/validation/report.html"] = b"<html>"
    said = rlpipe("report", "cartpole-done")
    assert said.stdout.strip() == str(tmp_path / ".rlpipe" / "reports" / "cartpole-done.html")
    assert Path(said.stdout.strip()).read_bytes() == b"<html>"
    missing = rlpipe("report", "pendulum-no")
    assert missing.exit_code == 1
    assert "ended as REJECTED before validation" in missing.stderr


def test_json_is_all_of_stdout(world: FakeAws, rlpipe: Callable[..., Said]) -> None:
    world.jobs = [FakeJob("cartpole-done-seed-0", lines=[encode({"event": "checkpoint", "seed": 0, "timesteps": 1})])]
    world.objects[ARTIFACTS, "runs/cartpole-done/validation/report.html"] = b""
    for command in (["runs"], ["show", "latest"], ["watch", "cartpole-d"], ["logs", RUN], ["report", "cartpole-d"],
                    ):  # fmt: skip
        json.loads(rlpipe(*command, "--json").stdout)

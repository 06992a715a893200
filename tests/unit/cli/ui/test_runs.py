"""The pages about runs show what the API and AWS say, and send commands on."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from contract.events import encode
from contract.layout import RunLayout
from tests.unit.cli.fake_aws import ARTIFACTS, BEGAN, Execution, FakeAws, FakeJob, record, refusal
from tests.unit.cli.test_history import DEPLOYED, PROMOTED
from tests.unit.cli.ui.conftest import Browser

ROOT = Path(__file__).parents[4]
RUN = "cartpole-0123456789ab"
SPECIFICATION = {
    "environment": {"id": "CartPole-v1", "kwargs": {}},
    "algorithm": {"name": "ppo", "hyperparameters": {"learning_rate": 0.001}},
    "validation": {"min_return": 475.0},
    "deploy": {"target": "sagemaker", "endpoint": "cartpole"},
}


def progress(timesteps: int, mean_return: float, seed: int = 0) -> str:
    return encode(
        {
            "event": "progress",
            "seed": seed,
            "timesteps": timesteps,
            "total_timesteps": 1000,
            "steps_per_second": 100.0,
            "seconds_left": 5.0,
            "mean_return": mean_return,
        }
    )


def is_training(aws: FakeAws, run_id: str = RUN, **more: object) -> None:
    aws.executions[run_id] = Execution(run_id, states=DEPLOYED[:4], started=BEGAN)
    aws.records[run_id] = record(run_id, possible=["pause", "stop"], **more)
    aws.put(RunLayout(run_id=run_id).specification, {"specification": SPECIFICATION})
    aws.jobs.append(FakeJob(f"{run_id}-seed-0", lines=[progress(400, 20.0), "a word", progress(500, 30.0)]))


def is_done(aws: FakeAws, run_id: str, *, passed: bool = True, best: float = 500.0, rate: float = 0.001) -> None:
    layout = RunLayout(run_id=run_id)
    algorithm = {"name": "ppo", "hyperparameters": {"learning_rate": rate}}
    aws.executions[run_id] = (
        Execution(run_id, "SUCCEEDED", PROMOTED)
        if passed
        else Execution(run_id, "FAILED", DEPLOYED[:8], "REJECTED", "too low")
    )
    aws.records[run_id] = record(run_id, "SUCCEEDED" if passed else "REJECTED", timesteps=1000, mean_return=best)
    aws.put(layout.specification, {"specification": SPECIFICATION | {"algorithm": algorithm}})
    aws.put(layout.outcome, {"outcome": "SUCCEEDED" if passed else "REJECTED", "reason": "the mean return is too low"})
    verdict = {"passed": passed, "reason": "The policy was judged.", "mean_return": best, "lower_bound": best - 1}
    aws.put(layout.verdict, verdict)
    lines = [{"timesteps": 100 * step, "mean_return": best * step / 10} for step in range(1, 11)]
    metrics = "\n".join(json.dumps(line) for line in lines).encode()
    aws.objects[ARTIFACTS, f"{layout.seed(0)}/metrics.jsonl"] = metrics


def test_the_list_has_state_progress_return_cost_and_age(aws: FakeAws, browser: Browser) -> None:
    assert "There is no run yet" in browser.get("/").text
    aws.records = {"new": record("new", timesteps=500, mean_return=21.25, cost_usd=0.42, wish="pause")}
    text = browser.get("/").text
    for part in ("new", "training", "pause is being carried out", "50%", "21.25", "$0.42"):
        assert part in text


def test_a_thousand_runs_come_page_by_page(aws: FakeAws, browser: Browser) -> None:
    aws.records = {f"run-{number:04}": record(f"run-{number:04}", "SUCCEEDED") for number in range(1000)}
    aws.calls.clear()
    first = browser.get("/")
    assert first.body.count(b"<tr id=") == 25
    assert aws.calls == ["GET /runs"], "one call, however many runs there are"
    second = browser.get("/?next=25")
    assert "run-0025" in second.text
    assert "Newest" in second.text
    assert "Older" not in browser.get("/?next=975").text


def test_the_page_asks_for_what_changes_only(aws: FakeAws, browser: Browser) -> None:
    is_training(aws)
    for target in ("/", f"/runs/{RUN}"):
        assert b"<html" in browser.get(target).body
        part = browser.get(target, hx_request="true")
        assert b"<html" not in part.body
        assert RUN in part.body.decode()


def test_a_run_that_trains_shows_where_it_is_and_its_curve_so_far(aws: FakeAws, browser: Browser) -> None:
    is_training(aws, timesteps=500)
    answer = browser.get(f"/runs/{RUN}")
    assert 'aria-current="step"' in answer.body.decode().partition("<b>Train</b>")[0].rpartition("<li")[2]
    assert "TrainSeed, " in answer.text or "Train, " in answer.text
    (chart,) = answer.charts
    assert (chart["lines"][0]["x"], chart["lines"][0]["y"]) == ([400, 500], [20, 30])
    assert chart["level"] == {"name": "required", "value": 475.0}
    assert "a word" in answer.text
    assert "500 of 1,000 steps, 100 steps/s" in answer.text
    offered = [name for name in ("pause", "resume", "stop", "approve") if f'id="do-{name}"' in answer.body.decode()]
    assert offered == ["pause", "stop"]


def test_the_curve_grows_between_two_looks(aws: FakeAws, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    is_training(aws)
    assert browser.get(f"/runs/{RUN}").charts[0]["lines"][0]["x"] == [400, 500]
    aws.jobs[0].lines.append(progress(600, 40.0))
    assert browser.get(f"/runs/{RUN}").charts[0]["lines"][0]["x"] == [400, 500], "looked at a moment ago"
    monkeypatch.setattr("cli.ui.watched.time.monotonic", lambda: 1e9)
    assert browser.get(f"/runs/{RUN}").charts[0]["lines"][0]["x"] == [400, 500, 600]


def test_a_run_that_is_over_has_its_verdict_and_its_whole_curve(aws: FakeAws, browser: Browser) -> None:
    is_done(aws, RUN)
    aws.objects[ARTIFACTS, RunLayout(run_id=RUN).video("worst")] = b"film"
    answer = browser.get(f"/runs/{RUN}")
    assert len(answer.charts[0]["lines"][0]["x"]) == 10
    for part in ("The policy was judged.", "Open the report", "Try the policy", "data-over"):
        assert part in answer.body.decode()
    assert f"/runs/{RUN}/video/worst" in answer.body.decode()
    assert "video/best" not in answer.body.decode()
    assert browser.get(f"/runs/{RUN}/video/worst").body == b"film"
    assert browser.get(f"/runs/{RUN}/video/other").status == 404
    aws.calls.clear()
    browser.get(f"/runs/{RUN}")
    assert aws.calls == [], "nothing changes any more, so nothing is asked any more"


def test_a_rejected_run_says_why(aws: FakeAws, browser: Browser) -> None:
    is_done(aws, RUN, passed=False)
    text = browser.get(f"/runs/{RUN}").text
    assert "the mean return is too low" in text
    assert "Try the policy" not in text


def test_the_report_is_shown_in_a_box_of_its_own(aws: FakeAws, browser: Browser) -> None:
    assert browser.get(f"/runs/{RUN}/report").status == 404
    aws.objects[ARTIFACTS, RunLayout(run_id=RUN).report] = b"<html>"
    answer = browser.get(f"/runs/{RUN}/report")
    assert answer.body == b"<html>"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'")
    assert "allow-same-origin" not in policy


def test_a_command_goes_to_the_api_with_its_reason(aws: FakeAws, browser: Browser) -> None:
    is_training(aws)
    answer = browser.post(f"/runs/{RUN}/pause", {"reason": "lunch & more"}, hx_request="true")
    assert aws.given == [(RUN, "pause", "lunch & more")]
    assert "Pause" in answer.text
    assert browser.post(f"/runs/{RUN}/stop").headers["location"] == f"/runs/{RUN}"


def test_a_command_that_makes_no_sense_now_is_answered_with_what_is_possible(aws: FakeAws, browser: Browser) -> None:
    is_training(aws)
    refused = {"error": "conflict", "message": "resume makes no sense now", "state": "TRAINING", "possible": ["stop"]}
    aws.answers = [(409, refused)]
    answer = browser.post(f"/runs/{RUN}/resume", hx_request="true")
    assert "resume makes no sense now. Next: `rlpipe stop RUN`." in answer.text


def test_an_unknown_run_may_be_about_to_start(aws: FakeAws, browser: Browser) -> None:
    answer = browser.get("/runs/cartpole-ffffffffffff")
    assert "There is no such run. One that was just dropped begins within seconds." in answer.text
    assert "data-over" not in answer.body.decode()


def test_what_cannot_be_reached_is_said_and_the_last_reading_stays(
    aws: FakeAws, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_training(aws)
    browser.get(f"/runs/{RUN}")
    monkeypatch.setattr("cli.ui.watched.time.monotonic", lambda: 1e9)
    aws.failures = [refusal("ThrottlingException", "DescribeExecution", "slow down")]
    answer = browser.get(f"/runs/{RUN}")
    assert "slow down" in answer.text
    assert "looking again" in answer.text
    assert "a word" in answer.text


def test_runs_are_compared_by_curve_result_and_what_differs(aws: FakeAws, browser: Browser) -> None:
    is_done(aws, "first", best=400.0)
    is_done(aws, "second", best=500.0, rate=0.003)
    answer = browser.get("/compare?run=first&run=second&run=nowhere")
    assert [line["name"] for line in answer.charts[0]["lines"]] == ["first", "second"]
    assert "algorithm.hyperparameters.learning_rate 0.001 0.003" in answer.text
    assert "environment.id" not in answer.text
    assert "at least two runs" in browser.get("/compare?run=first").text


def test_a_run_file_is_checked_and_submitted(aws: FakeAws, browser: Browser) -> None:
    page = browser.get("/start?example=cartpole")
    assert "id: CartPole-v1 timesteps: 100000" in page.text
    wrong = browser.post("/start", {"experiment": "mine", "run_file": "environment: {id: Nope}", "do": "start"})
    assert "environment.id" in wrong.text
    assert "nothing was started" in wrong.text
    good = {"experiment": "mine", "run_file": "environment: {id: CartPole-v1}\n"}
    assert "Nothing is wrong" in browser.post("/start", good | {"do": "check"}).text
    assert aws.submitted == []
    answer = browser.post("/start", good | {"do": "start"}, hx_request="true")
    assert answer.headers["hx-redirect"] == "/runs/mine-new"
    assert aws.submitted == [("mine", "environment: {id: CartPole-v1}\n")]


def test_a_form_that_is_too_large_is_refused(browser: Browser) -> None:
    assert browser.post("/start", {"run_file": "x" * 2_000_000}).status == 413


def test_names_of_runs_are_text_and_not_markup(aws: FakeAws, browser: Browser) -> None:
    aws.records = {"x": record("x", state="TRAINING", reason="<script>alert(1)</script>")}
    aws.records["x"]["history"] = [
        {"at": BEGAN.isoformat(), "by": "<b>me</b>", "state": None, "wish": "stop", "reason": ""}
    ]
    aws.executions["x"] = Execution("x", states=DEPLOYED[:2], started=BEGAN + timedelta(hours=1))
    assert b"<b>me</b>" not in browser.get("/runs/x").body


def test_what_is_vendored_is_what_was_published() -> None:
    published = ROOT / "node_modules" / "htmx.org"
    static = ROOT / "cli" / "ui" / "static"
    assert (static / "htmx.min.js").read_bytes() == (published / "dist" / "htmx.min.js").read_bytes()
    assert (static / "htmx.LICENSE").read_bytes() == (published / "LICENSE").read_bytes()

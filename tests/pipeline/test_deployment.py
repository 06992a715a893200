"""A bad candidate never costs a caller of the champion an answer."""

import threading
import time
import urllib.error
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from contract.layout import RunLayout, champion_key, rehearsal_endpoint
from contract.outcomes import Outcome
from tests.pipeline.faults import CRAWLS, DIES, FAILS, HANGS, LIES, SLOWS, TIRES, broken_serving
from tests.pipeline.laptop import QUICK, Laptop, until

# A bake of a minute takes 0.6 s here, and a machine under load is not a slow policy.
CANDIDATE = QUICK + "seeds: [1]\ndeploy: {bake_minutes: 1, max_latency_ms: 2000}\n"


@dataclass
class Load:
    """What a load generator got to see."""

    actions: Counter[int] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)

    @property
    def asked(self) -> int:
        return self.actions.total() + len(self.lost)


@contextmanager
def load(
    laptop: Laptop, endpoint: str, observation: list[float], threads: int = 3, *, on_ecs: bool = False
) -> Iterator[Load]:
    """Ask the endpoint all the time; a request that is not answered with an action is lost."""
    seen = Load()
    stop = threading.Event()
    ask_once = laptop.ask_service if on_ecs else laptop.ask

    def ask() -> None:
        while not stop.is_set():
            try:
                seen.actions[ask_once(endpoint, {"observation": observation})["action"]] += 1
            except Exception as error:
                said = error.read().decode() if isinstance(error, urllib.error.HTTPError) else error
                seen.lost.append(f"{type(error).__name__}: {said}")
            time.sleep(0.005)

    asking = [threading.Thread(target=ask) for _ in range(threads)]
    for thread in asking:
        thread.start()
    try:
        until(lambda: seen.actions, seconds=30, what="the champion answers")
        yield seen
    finally:
        stop.set()
        for thread in asking:
            thread.join()


@pytest.fixture(scope="module")
def champion(laptop: Laptop) -> tuple[str, list[float], int]:
    """A policy that serves at `unshaken`: its run, an observation, and what it does then."""
    run_id = laptop.drop("unshaken", QUICK)
    assert laptop.end_of(run_id)["status"] == "SUCCEEDED", laptop.outcome(run_id)
    golden = laptop.json(RunLayout(run_id=run_id).golden)
    return run_id, golden["observations"][0], golden["actions"][0]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (LIES, "the rehearsal: the endpoint's actions differ from the validated ones"),
        (CRAWLS, "the rehearsal: the endpoint takes 5"),
        (FAILS, "the rehearsal: the endpoint did not answer: .*500"),
        (HANGS, "the rehearsal: the endpoint did not answer: "),
        (DIES, "the rehearsal's endpoint is Failed: The primary container .* did not pass the ping health check"),
    ],
    ids=["answers wrongly", "answers slowly", "answers with 500s", "does not answer", "does not start"],
)
def test_a_bad_candidate_is_rolled_back_and_no_request_is_lost(
    laptop: Laptop, champion: tuple[str, list[float], int], fault: str, said: str
) -> None:
    run_id, observation, action = champion
    with load(laptop, "unshaken", observation) as seen, broken_serving(laptop, fault, spared=run_id):
        candidate = laptop.drop("unshaken", CANDIDATE)
        execution = laptop.end_of(candidate)
        answered = seen.asked
        until(lambda: seen.asked > answered + 20, seconds=30, what="the champion answers afterwards")
    assert (execution["status"], execution["error"]) == ("FAILED", Outcome.ROLLED_BACK), execution
    assert said.split(".*")[0] in execution["cause"]
    assert said.split(".*")[-1] in execution["cause"]
    assert seen.lost == []
    assert set(seen.actions) == {action}
    assert laptop.serves("unshaken") == run_id == laptop.json(champion_key("unshaken"))["run_id"]
    assert nothing_is_left_of(laptop, candidate)


def went_back_by(laptop: Laptop, alarm: str, run_id: str, candidate: str, execution: dict[str, Any]) -> None:
    """A deployment to `unshaken` was undone by an alarm: its champion serves, and nothing else is left."""
    assert (execution["status"], execution["error"]) == ("FAILED", Outcome.ROLLED_BACK), execution
    assert f"went back to {run_id}" in execution["cause"]
    assert f"rlpipe-unshaken-{alarm}" in execution["cause"]
    assert laptop.serves("unshaken") == run_id
    assert nothing_is_left_of(laptop, candidate)


def test_a_fault_that_only_callers_see_rings_an_alarm_and_is_rolled_back(
    laptop: Laptop, champion: tuple[str, list[float], int]
) -> None:
    """The rehearsal found nothing; a canary of a quarter meets the fault, for as long as the alarm needs."""
    run_id, observation, _ = champion
    with load(laptop, "unshaken", observation) as seen, broken_serving(laptop, TIRES, spared=run_id):
        candidate = laptop.drop("unshaken", CANDIDATE.replace("bake_minutes: 1", "bake_minutes: 60"))
        execution = laptop.end_of(candidate)
        lost, answered = len(seen.lost), seen.asked
        until(lambda: seen.asked > answered + 50, seconds=30, what="the champion answers afterwards")
    went_back_by(laptop, "errors", run_id, candidate, execution)
    assert 0 < lost < seen.actions.total()
    assert len(seen.lost) == lost, "nothing is lost once it is rolled back"
    assert all("tired" in loss for loss in seen.lost)


def test_a_slowness_that_only_callers_feel_rings_an_alarm_and_is_rolled_back(
    laptop: Laptop, champion: tuple[str, list[float], int]
) -> None:
    run_id, observation, _ = champion
    with load(laptop, "unshaken", observation) as seen, broken_serving(laptop, SLOWS, spared=run_id):
        candidate = laptop.drop("unshaken", CANDIDATE.replace("bake_minutes: 1", "bake_minutes: 60"))
        execution = laptop.end_of(candidate)
    went_back_by(laptop, "latency", run_id, candidate, execution)
    assert seen.lost == [], "slow as it was, everybody was answered"


def test_a_good_candidate_takes_over_gradually_and_no_request_is_lost(laptop: Laptop) -> None:
    first = laptop.drop("relay", QUICK)
    assert laptop.end_of(first)["status"] == "SUCCEEDED"
    observation = laptop.json(RunLayout(run_id=first).golden)["observations"][0]
    with load(laptop, "relay", observation) as seen:
        second = laptop.drop("relay", CANDIDATE)
        execution = laptop.end_of(second)
    assert execution["status"] == "SUCCEEDED", execution
    assert seen.lost == []
    description = laptop.sagemaker.describe_endpoint(EndpointName="relay")
    assert description["EndpointConfigName"] == second
    routing = description["LastDeploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert (routing["Type"], routing["CanarySize"]["Value"], routing["WaitIntervalInSeconds"]) == ("CANARY", 25, 60)
    document = laptop.json(champion_key("relay"))
    assert [policy["run_id"] for policy in document["kept"]] == [first, second]
    assert [(change["what"], change["run_id"]) for change in document["history"]] == [
        ("promoted", first),
        ("promoted", second),
    ]


def test_an_endpoint_has_alarms_that_watch_its_champion(laptop: Laptop, champion: tuple[str, list[float], int]) -> None:
    run_id, _, _ = champion
    found = laptop.client("cloudwatch").describe_alarms(AlarmNamePrefix="rlpipe-unshaken-")["MetricAlarms"]
    by_name = {alarm["AlarmName"].rpartition("-")[2]: alarm for alarm in found}
    assert set(by_name) == {"errors", "latency", "idle"}
    for name in ("errors", "latency"):
        assert {"Name": "EndpointConfigName", "Value": run_id} in by_name[name]["Dimensions"]
    assert (by_name["idle"]["Period"], by_name["idle"]["TreatMissingData"]) == (86_400, "missing")
    assert by_name["idle"]["InsufficientDataActions"]
    assert all(alarm["AlarmActions"] for alarm in found)


def test_a_serverless_endpoint_serves_and_is_taken_over(laptop: Laptop) -> None:
    deploy = "deploy: {target: sagemaker-serverless, max_latency_ms: 2000}\n"
    first = laptop.drop("serverless", QUICK + deploy)
    assert laptop.end_of(first)["status"] == "SUCCEEDED", laptop.outcome(first)
    [variant] = laptop.sagemaker.describe_endpoint(EndpointName="serverless")["ProductionVariants"]
    assert variant["CurrentServerlessConfig"] == {"MemorySizeInMB": 1024, "MaxConcurrency": 5}
    second = laptop.drop("serverless", QUICK + "seeds: [1]\n" + deploy)
    assert laptop.end_of(second)["status"] == "SUCCEEDED", laptop.outcome(second)
    assert laptop.serves("serverless") == second
    assert "action" in laptop.predict("serverless", [0.0, 0.0, 0.0, 0.0])


def nothing_is_left_of(laptop: Laptop, run_id: str) -> bool:
    """Whether a candidate that failed has left nothing in SageMaker that costs or confuses."""
    endpoints = laptop.sagemaker.list_endpoints(NameContains=rehearsal_endpoint(run_id))["Endpoints"]
    configs = laptop.sagemaker.list_endpoint_configs(NameContains=run_id)["EndpointConfigs"]
    models = laptop.sagemaker.list_models(NameContains=run_id)["Models"]
    return not (endpoints or configs or models)


def policy_at(laptop: Laptop, endpoint: str) -> dict[str, Any]:
    status, document = laptop.api.request("GET", f"/policies/{endpoint}")
    assert status == 200, document
    return document


def command(laptop: Laptop, endpoint: str, name: str, **body: str) -> dict[str, Any]:
    status, document = laptop.api.request("POST", f"/policies/{endpoint}/{name}", body)
    assert status == 202, document
    return document


def test_an_endpoint_goes_back_off_on_and_away(laptop: Laptop) -> None:
    """The life of an endpoint after its deployments, by the API."""
    first = laptop.drop("commanded", QUICK)
    assert laptop.end_of(first)["status"] == "SUCCEEDED"
    second = laptop.drop("commanded", CANDIDATE)
    assert laptop.end_of(second)["status"] == "SUCCEEDED"
    assert policy_at(laptop, "commanded")["before"] == first

    def is_back() -> bool:
        return bool(policy_at(laptop, "commanded")["run_id"] == first)

    observation = laptop.json(RunLayout(run_id=first).golden)["observations"][0]
    with load(laptop, "commanded", observation) as seen:
        command(laptop, "commanded", "rollback", reason="odd at noon")
        until(is_back, seconds=60, what="the rollback is noted")
    assert seen.lost == []
    assert laptop.serves("commanded") == first
    [*_, last] = policy_at(laptop, "commanded")["history"]
    assert (last["what"], last["run_id"], last["reason"]) == ("rolled back", first, "odd at noon")

    scaling = laptop.client("application-autoscaling")

    def scaled() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = scaling.describe_scalable_targets(
            ServiceNamespace="sagemaker", ResourceIds=["endpoint/commanded/variant/policy"]
        )["ScalableTargets"]
        return found

    assert [(target["MinCapacity"], target["MaxCapacity"]) for target in scaled()] == [(2, 4)]
    assert command(laptop, "commanded", "off")["status"] == "Off"
    assert laptop.sagemaker.list_endpoints(NameContains="commanded")["Endpoints"] == []
    assert laptop.client("cloudwatch").describe_alarms(AlarmNamePrefix="rlpipe-commanded-")["MetricAlarms"] == []
    assert scaled() == []
    listed = {policy["endpoint"]: policy for policy in laptop.api.policies()}
    assert listed["commanded"]["status"] == "Off"

    command(laptop, "commanded", "on")
    until(lambda: policy_at(laptop, "commanded")["status"] == "InService", seconds=60, what="it is on")
    assert laptop.serves("commanded") == first
    assert "action" in laptop.predict("commanded", [0.0, 0.0, 0.0, 0.0])
    until(scaled, seconds=30, what="it is scaled again")

    assert command(laptop, "commanded", "delete")["status"] == "Deleted"
    for run_id in (first, second):
        assert nothing_is_left_of(laptop, run_id)
        assert laptop.exists(laptop.artifacts_bucket, RunLayout(run_id=run_id).model_archive), "files stay"


def test_a_run_that_is_aborted_in_its_rehearsal_leaves_no_endpoint_behind(
    laptop: Laptop, champion: tuple[str, list[float], int]
) -> None:
    run_id, _, _ = champion
    with broken_serving(laptop, "time.sleep(8)\n    raise SystemExit(1)", spared=run_id):
        candidate = laptop.drop("unshaken", CANDIDATE)
        rehearsal = rehearsal_endpoint(candidate)
        until(
            lambda: laptop.sagemaker.list_endpoints(NameContains=rehearsal)["Endpoints"],
            seconds=90,
            what="the rehearsal begins",
        )
        laptop.states.stop_execution(executionArn=laptop.execution_arn(candidate))
        until(lambda: nothing_is_left_of(laptop, candidate), seconds=60, what="it is cleared away")
    assert laptop.serves("unshaken") == run_id

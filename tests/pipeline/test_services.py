"""Policies on ECS: what holds of SageMaker's endpoints holds of services behind the load balancer."""

import os
import subprocess
import sys
from typing import Any

import pytest

from contract.layout import RunLayout, champion_key, rehearsal_endpoint
from contract.outcomes import Outcome
from tests.pipeline.faults import DIES, FAILS, LIES, TIRES, broken_serving
from tests.pipeline.laptop import QUICK, Laptop, until
from tests.pipeline.test_deployment import command, load, policy_at

DEPLOY = "deploy: {target: ecs, bake_minutes: 1, max_latency_ms: 2000}\n"
CANDIDATE = QUICK + "seeds: [1]\n" + DEPLOY


def services(laptop: Laptop) -> dict[str, dict[str, Any]]:
    """Every service of the stage's cluster, by name."""
    ecs = laptop.client("ecs")
    [cluster] = [arn for arn in ecs.list_clusters()["clusterArns"] if "rlpipe-local" in arn]
    names = [arn.rpartition("/")[2] for arn in ecs.list_services(cluster=cluster)["serviceArns"]]
    found = ecs.describe_services(cluster=cluster, services=names)["services"] if names else []
    return {service["serviceName"]: service for service in found}


def serves(laptop: Laptop, endpoint: str) -> str:
    """The policy that a service is told to serve: its task definition's family is the run."""
    family: str = services(laptop)[endpoint]["taskDefinition"].rpartition("/")[2].partition(":")[0]
    return family


def left_of(laptop: Laptop, run_id: str) -> list[str]:
    """What a candidate that failed has left that costs or confuses: there should be nothing."""
    definitions: list[str] = laptop.client("ecs").list_task_definitions(familyPrefix=run_id)["taskDefinitionArns"]
    rehearsal = rehearsal_endpoint(run_id)
    rules = laptop.client("elbv2").describe_rules(ListenerArn=listener(laptop))["Rules"]
    left = [rule["RuleArn"] for rule in rules if rehearsal in str(rule)]
    return definitions + left + [name for name in services(laptop) if name == rehearsal]


def until_nothing_is_left_of(laptop: Laptop, run_id: str, *, seconds: float) -> None:
    """Wait for it; when it is not so, say what is left and what the function that clears it away has said."""

    def seen() -> dict[str, Any]:
        [group] = [
            found["logGroupName"]
            for found in laptop.client("logs").describe_log_groups()["logGroups"]
            if "EndpointsFunction" in found["logGroupName"]
        ]
        said = laptop.client("logs").filter_log_events(logGroupName=group)["events"][-40:]
        return {"left": left_of(laptop, run_id), "said": [event["message"] for event in said]}

    until(lambda: not left_of(laptop, run_id), seconds=seconds, what="it is cleared away", instead=seen)


def listener(laptop: Laptop) -> str:
    balancing = laptop.client("elbv2")
    [balancer] = balancing.describe_load_balancers()["LoadBalancers"]
    [found] = balancing.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    arn: str = found["ListenerArn"]
    return arn


@pytest.fixture(scope="module")
def champion(laptop: Laptop) -> tuple[str, list[float], int]:
    """A policy that serves at `afloat`: its run, an observation, and what it does then."""
    run_id = laptop.drop("afloat", QUICK + DEPLOY)
    assert laptop.end_of(run_id)["status"] == "SUCCEEDED", laptop.outcome(run_id)
    golden = laptop.json(RunLayout(run_id=run_id).golden)
    return run_id, golden["observations"][0], golden["actions"][0]


def test_a_policy_is_served_by_a_task_and_answers_whoever_asks(
    laptop: Laptop, champion: tuple[str, list[float], int]
) -> None:
    run_id, observation, action = champion
    assert serves(laptop, "afloat") == run_id
    document = laptop.json(champion_key("afloat"))
    assert (document["run_id"], document["target"]) == (run_id, "ecs")
    assert laptop.ask_service("afloat", {"observation": observation}) == {"action": action}
    status, answer = laptop.api.request("POST", "/services/afloat/action", {"observation": observation})
    assert (status, answer) == (200, {"action": action})
    status, answer = laptop.api.request("POST", "/services/afloat/action", {"observation": [1]})
    assert (status, answer["error"]["field"]) == (400, "observation")
    status, answer = laptop.api.request("POST", "/services/nowhere/action", {"observation": [1]})
    assert (status, answer["message"]) == (404, "no such endpoint")
    listed = {policy["endpoint"]: policy for policy in laptop.api.policies()}["afloat"]
    assert (listed["status"], listed["run_id"], listed["target"]) == ("InService", run_id, "ecs")
    assert listed["monthly_usd"] == laptop.api.monthly_usd()["ecs"] > 16
    told = [sys.executable, "-m", "cli.main", "predict", "afloat", "--observation", str(observation), "--json"]
    done = subprocess.run(
        told, env={**os.environ, **laptop.environment}, capture_output=True, text=True, timeout=60, check=False
    )
    assert f'"action": {action}' in done.stdout, done.stderr


def test_an_endpoint_has_alarms_that_watch_its_tasks(laptop: Laptop, champion: tuple[str, list[float], int]) -> None:
    found = laptop.client("cloudwatch").describe_alarms(AlarmNamePrefix="rlpipe-afloat-")["MetricAlarms"]
    by_name = {alarm["AlarmName"].rpartition("-")[2]: alarm for alarm in found}
    assert set(by_name) == {"errors", "latency", "idle"}
    [target] = [item["Value"] for item in by_name["latency"]["Dimensions"] if item["Name"] == "TargetGroup"]
    rules = laptop.client("elbv2").describe_rules(ListenerArn=listener(laptop))["Rules"]
    [weights] = [
        {
            group["TargetGroupArn"].rpartition(":")[2]: group["Weight"]
            for group in action["ForwardConfig"]["TargetGroups"]
        }
        for rule in rules
        for action in rule["Actions"]
        if "afloat" in str(rule["Conditions"])
    ]
    assert weights[target] == max(weights.values()) > 0
    assert by_name["errors"]["Metrics"][-1]["Expression"].endswith("/ requests")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (LIES, "the rehearsal: the endpoint's actions differ from the validated ones"),
        (FAILS, "the rehearsal: the endpoint did not answer: 500"),
        (DIES, "the rehearsal's endpoint is Failed: ECS deployment circuit breaker: tasks failed to start"),
    ],
    ids=["answers wrongly", "answers with 500s", "does not start"],
)
def test_a_bad_candidate_is_rolled_back_and_no_request_is_lost(
    laptop: Laptop, champion: tuple[str, list[float], int], fault: str, said: str
) -> None:
    run_id, observation, action = champion
    with load(laptop, "afloat", observation, on_ecs=True) as seen, broken_serving(laptop, fault, spared=run_id):
        candidate = laptop.drop("afloat", CANDIDATE)
        execution = laptop.end_of(candidate)
    assert (execution["status"], execution["error"]) == ("FAILED", Outcome.ROLLED_BACK), execution["cause"]
    assert said in execution["cause"]
    assert seen.lost == []
    assert set(seen.actions) == {action}
    assert serves(laptop, "afloat") == run_id == laptop.json(champion_key("afloat"))["run_id"]
    until_nothing_is_left_of(laptop, candidate, seconds=30)


def test_a_fault_that_only_callers_see_rings_an_alarm_and_is_rolled_back(
    laptop: Laptop, champion: tuple[str, list[float], int]
) -> None:
    run_id, observation, _ = champion
    with load(laptop, "afloat", observation, on_ecs=True) as seen, broken_serving(laptop, TIRES, spared=run_id):
        candidate = laptop.drop("afloat", CANDIDATE.replace("bake_minutes: 1", "bake_minutes: 60"))
        execution = laptop.end_of(candidate)
        lost, answered = len(seen.lost), seen.asked
        until(lambda: seen.asked > answered + 50, seconds=30, what="the champion answers afterwards")
    assert (execution["status"], execution["error"]) == ("FAILED", Outcome.ROLLED_BACK), execution["cause"]
    assert f"went back to {run_id}" in execution["cause"]
    assert "rlpipe-afloat-errors" in execution["cause"]
    assert 0 < lost < seen.actions.total()
    assert len(seen.lost) == lost, "nothing is lost once it is rolled back"
    assert all("tired" in loss for loss in seen.lost)
    assert serves(laptop, "afloat") == run_id
    assert left_of(laptop, candidate) == []


def test_an_endpoint_goes_over_back_off_on_and_away(laptop: Laptop) -> None:
    """The life of an endpoint: a second policy takes over gradually, and then the API's commands."""
    first = laptop.drop("ashore", QUICK + DEPLOY)
    assert laptop.end_of(first)["status"] == "SUCCEEDED", laptop.outcome(first)
    observation = laptop.json(RunLayout(run_id=first).golden)["observations"][0]
    with load(laptop, "ashore", observation, on_ecs=True) as seen:
        second = laptop.drop("ashore", CANDIDATE)
        assert laptop.end_of(second)["status"] == "SUCCEEDED", laptop.outcome(second)
        how = services(laptop)["ashore"]["deploymentConfiguration"]
        assert (how["strategy"], how["canaryConfiguration"]["canaryPercent"]) == ("CANARY", 25)
        assert how["alarms"]["alarmNames"] == ["rlpipe-ashore-errors", "rlpipe-ashore-latency"]
        assert serves(laptop, "ashore") == second
        command(laptop, "ashore", "rollback", reason="odd at noon")
        until(lambda: policy_at(laptop, "ashore")["run_id"] == first, seconds=60, what="the rollback is noted")
    assert seen.lost == []
    assert serves(laptop, "ashore") == first

    scaling = laptop.client("application-autoscaling")

    def scaled() -> list[int]:
        targets = scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"]
        return [target["MaxCapacity"] for target in targets if target["ResourceId"].endswith("/ashore")]

    assert scaled() == [2]
    assert command(laptop, "ashore", "off")["status"] == "Off"
    assert "ashore" not in services(laptop)
    assert scaled() == []
    assert {policy["endpoint"]: policy for policy in laptop.api.policies()}["ashore"]["status"] == "Off"

    command(laptop, "ashore", "on")
    until(lambda: policy_at(laptop, "ashore")["status"] == "InService", seconds=60, what="it is on")
    assert "action" in laptop.ask_service("ashore", {"observation": observation})
    until(scaled, seconds=30, what="it is scaled again")

    elsewhere = laptop.drop("ashore", QUICK + "seeds: [2]\n")
    assert "serves as ecs and cannot become sagemaker" in laptop.end_of(elsewhere)["cause"]
    assert serves(laptop, "ashore") == first

    assert command(laptop, "ashore", "delete")["status"] == "Deleted"
    for run_id in (first, second):
        assert left_of(laptop, run_id) == []
        assert laptop.exists(laptop.artifacts_bucket, RunLayout(run_id=run_id).model_archive), "files stay"


def test_a_run_that_is_aborted_in_its_rehearsal_leaves_no_service_behind(
    laptop: Laptop, champion: tuple[str, list[float], int]
) -> None:
    run_id, _, _ = champion
    with broken_serving(laptop, "time.sleep(8)\n    raise SystemExit(1)", spared=run_id):
        candidate = laptop.drop("afloat", CANDIDATE)
        until(lambda: rehearsal_endpoint(candidate) in services(laptop), seconds=90, what="the rehearsal begins")
        laptop.states.stop_execution(executionArn=laptop.execution_arn(candidate))
        until_nothing_is_left_of(laptop, candidate, seconds=60)
    assert serves(laptop, "afloat") == run_id

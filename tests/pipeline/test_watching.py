"""What an endpoint is asked: a candidate in the shadow, and observations that are no longer what they were."""

import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from contract.layout import RunLayout, drift_key
from contract.policy import GOLDEN_DOCUMENT, POLICY_DOCUMENT
from tests.pipeline.laptop import QUICK, Laptop, until

LAX = "max_latency_ms: 2000, bake_minutes: 1"


@contextmanager
def asking(laptop: Laptop, endpoint: str, observations: list[Any]) -> Iterator[list[Any]]:
    """Ask the endpoint about these all the time; what it answered."""
    answers: list[Any] = []
    stop = threading.Event()

    def ask() -> None:
        client = laptop.client("sagemaker-runtime")
        while not stop.is_set():
            for observation in observations:
                body = json.dumps({"observation": observation})
                response = client.invoke_endpoint(EndpointName=endpoint, ContentType="application/json", Body=body)
                answers.append(json.loads(response["Body"].read())["action"])

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield answers
    finally:
        stop.set()
        asking.join()


def test_a_candidate_shows_itself_in_the_shadow_before_it_is_approved(laptop: Laptop) -> None:
    first = laptop.drop("shaded", QUICK)
    assert laptop.end_of(first)["status"] == "SUCCEEDED"
    observations = laptop.json(RunLayout(run_id=first).golden)["observations"][:5]
    deploy = f"deploy: {{{LAX}, approval: manual, shadow: {{hours: 0.002}}}}\n"
    with asking(laptop, "shaded", observations):
        candidate = laptop.drop("shaded", QUICK + "seeds: [1]\n" + deploy)
        laptop.reaches(candidate, "AWAITING_APPROVAL", seconds=240)
        assert laptop.serves("shaded") == first
        shown = laptop.json(RunLayout(run_id=candidate).shadow)
        assert laptop.command(candidate, "approve")[0] == 202
        execution = laptop.end_of(candidate, seconds=240)
    assert execution["status"] == "SUCCEEDED", execution
    assert laptop.serves("shaded") == candidate
    assert shown["requests_compared"] == len(observations)
    assert 0 <= shown["agreement"] <= 1
    assert shown["candidate"]["requests"] > 0
    assert shown["candidate"]["errors"] == 0
    assert shown["candidate"]["latency_p90_ms"] > 0 < shown["production"]["latency_p90_ms"]


def describe_observations(laptop: Laptop, run_id: str) -> None:
    """Let the policy say how its observations were distributed, where its training did not."""
    key = RunLayout(run_id=run_id).model_archive
    before = io.BytesIO(laptop.s3.get_object(Bucket=laptop.artifacts_bucket, Key=key)["Body"].read())
    with tarfile.open(fileobj=before, mode="r:gz") as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar.getmembers()}  # type: ignore[union-attr]
    policy = json.loads(files[POLICY_DOCUMENT])
    if policy.get("statistics"):
        return
    golden = json.loads(files[GOLDEN_DOCUMENT])["observations"]
    medians = [[sorted(column)[len(column) // 2]] for column in zip(*golden, strict=True)]
    policy["statistics"] = {"observation": {"edges": medians, "shares": [[0.5, 0.5] for _ in medians]}}
    files[POLICY_DOCUMENT] = json.dumps(policy).encode()
    after = io.BytesIO()
    with tarfile.open(fileobj=after, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    laptop.s3.put_object(Bucket=laptop.artifacts_bucket, Key=key, Body=after.getvalue())


def test_observations_that_have_shifted_ring_an_alarm_and_start_a_training(laptop: Laptop) -> None:
    deploy = f"deploy: {{{LAX}, drift: {{capture_percent: 100, retrain: true}}}}\n"
    run_id = laptop.drop("drifting", QUICK + deploy)
    assert laptop.end_of(run_id)["status"] == "SUCCEEDED"
    describe_observations(laptop, run_id)
    endpoints = next(
        function["FunctionName"]
        for page in laptop.client("lambda").get_paginator("list_functions").paginate()
        for function in page["Functions"]
        if function["Handler"] == "lambdas.endpoints.handler.handler"
    )

    def look() -> dict[str, Any]:
        """What the schedule does each hour."""
        answer = laptop.client("lambda").invoke(FunctionName=endpoints, Payload=json.dumps({"command": "drift"}))
        assert json.loads(answer["Payload"].read())["endpoints"] == ["drifting"]
        return laptop.json(drift_key("drifting"))

    with asking(laptop, "drifting", [[4.0, 3.0, 0.4, 3.0]]) as answers:
        until(lambda: len(answers) > 400, seconds=120, what="it was asked often enough")
    until(lambda: look()["index"], seconds=60, what="the captured observations are looked at")
    found = look()
    assert found["index"] > 0.25
    assert found["retrained"] == run_id
    [alarm] = laptop.client("cloudwatch").describe_alarms(AlarmNames=["rlpipe-drifting-drift"])["MetricAlarms"]
    assert alarm["StateValue"] == "ALARM"
    until(
        lambda: [run for run in laptop.api.runs(20) if run["experiment"] == "drifting" and run["run_id"] != run_id],
        seconds=60,
        what="the retraining has begun",
    )

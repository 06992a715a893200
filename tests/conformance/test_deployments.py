"""How an endpoint's update moves its traffic, and what SageMaker notes meanwhile.

https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails.html
"""

import base64
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.account import Account, unique

LONG, SHORT = 3600, 20
"""Seconds of a bake; the instance takes a hundredth of them."""


def canary(percent: int, seconds: int, alarms: tuple[str, ...] = ()) -> dict[str, Any]:
    policy = {
        "TrafficRoutingConfiguration": {
            "Type": "CANARY",
            "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": percent},
            "WaitIntervalInSeconds": seconds,
        },
        "TerminationWaitInSeconds": SHORT,
    }
    watched = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in alarms]}} if alarms else {}
    return {"BlueGreenUpdatePolicy": policy, **watched}


def alarm(aws: Account, endpoint: str, config: str, metric: str, threshold: float, statistic: str = "Average") -> str:
    """An alarm on the fleet of one configuration."""
    name = unique("alarm")
    aws.client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/SageMaker",
        MetricName=metric,
        Dimensions=[
            {"Name": "EndpointName", "Value": endpoint},
            {"Name": "VariantName", "Value": "policy"},
            {"Name": "EndpointConfigName", "Value": config},
        ],
        Statistic=statistic,
        Period=60,
        EvaluationPeriods=1,
        Threshold=threshold,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )
    return name


@contextmanager
def asking(aws: Account, endpoint: str) -> Iterator[list[str]]:
    """Ask the endpoint all the time; what it answered so far."""
    answers: list[str] = []
    stop = threading.Event()

    def ask() -> None:
        client = aws.client("sagemaker-runtime")
        while not stop.is_set():
            try:
                answers.append(client.invoke_endpoint(EndpointName=endpoint, Body=b"")["Body"].read().decode())
            except client.exceptions.ModelError as error:
                answers.append(str(error.response["OriginalStatusCode"]))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.page("sagemaker/latest/dg/deployment-guardrails-blue-green-canary.html")
def test_a_canary_gets_its_share_and_then_everything(aws: Account) -> None:
    before, after = aws.model("old"), aws.model("new")
    endpoint = aws.endpoint(before)
    with asking(aws, endpoint) as answers:
        aws.sagemaker.update_endpoint(
            EndpointName=endpoint, EndpointConfigName=after, DeploymentConfig=canary(25, LONG // 4)
        )
        aws.until(lambda: "new" in answers, what="the canary answers")
        first = answers.index("new")
        pending = aws.sagemaker.describe_endpoint(EndpointName=endpoint)
        aws.until(lambda: len(answers) > first + 100, what="both fleets have answered for a while")
        baking = Counter(answers[first : first + 100])
        description = aws.settled(endpoint)
        seen = len(answers)
        aws.until(lambda: len(answers) > seen + 20, what="it answers after the update")
    assert (pending["EndpointStatus"], pending["PendingDeploymentSummary"]["EndpointConfigName"]) == ("Updating", after)
    assert description["EndpointConfigName"] == after
    assert "PendingDeploymentSummary" not in description
    assert set(answers) == {"old", "new"}
    assert 5 < baking["new"] < 50, "a quarter, give or take"
    assert set(answers[-10:]) == {"new"}


@pytest.mark.page("sagemaker/latest/dg/deployment-guardrails-configuration.html")
def test_an_alarm_takes_the_traffic_back_to_the_fleet_of_before(aws: Account) -> None:
    before, after = aws.model("old"), aws.model("new", failing="yes")
    endpoint = aws.endpoint(before)
    name = alarm(aws, endpoint, after, "Invocation5XXErrors", 0.05)
    with asking(aws, endpoint) as answers:
        aws.sagemaker.update_endpoint(
            EndpointName=endpoint, EndpointConfigName=after, DeploymentConfig=canary(50, LONG, (name,))
        )
        description = aws.settled(endpoint)
        seen = len(answers)
        aws.until(lambda: len(answers) > seen + 20, what="it answers after the rollback")
    assert (description["EndpointStatus"], description["EndpointConfigName"]) == ("InService", before)
    assert f"alarm(s) have been triggered: [{name}]" in description["FailureReason"]
    assert "500" in answers
    assert set(answers[seen + 4 :]) == {"old"}


@pytest.mark.page("sagemaker/latest/dg/deployment-guardrails-configuration.html")
def test_an_alarm_on_one_fleet_is_not_moved_by_the_other(aws: Account) -> None:
    before, after = aws.model("old", failing="yes"), aws.model("new")
    endpoint = aws.endpoint(before)
    name = alarm(aws, endpoint, after, "Invocation5XXErrors", 0.0)
    with asking(aws, endpoint):
        aws.sagemaker.update_endpoint(
            EndpointName=endpoint, EndpointConfigName=after, DeploymentConfig=canary(25, SHORT * 5, (name,))
        )
        description = aws.settled(endpoint)
    assert description["EndpointConfigName"] == after, description


@pytest.mark.page("sagemaker/latest/dg/monitoring-cloudwatch.html")
def test_a_slow_fleet_is_seen_by_its_latency(aws: Account) -> None:
    before, after = aws.model("old"), aws.model("new", slow="0.3")
    endpoint = aws.endpoint(before)
    name = alarm(aws, endpoint, after, "ModelLatency", 250_000)
    with asking(aws, endpoint) as answers:
        aws.sagemaker.update_endpoint(
            EndpointName=endpoint, EndpointConfigName=after, DeploymentConfig=canary(25, LONG, (name,))
        )
        description = aws.settled(endpoint)
    assert description["EndpointConfigName"] == before
    assert name in description["FailureReason"]
    assert set(answers) <= {"old", "new"}, "what is slow is answered all the same"


@pytest.mark.page("sagemaker/latest/dg/deployment-guardrails-blue-green.html")
def test_what_a_fleet_was_asked_it_answers_before_it_ends(aws: Account) -> None:
    before, after = aws.model("old", slow="1"), aws.model("new")
    endpoint = aws.endpoint(before)
    answers: list[str] = []
    waiting = threading.Thread(target=lambda: answers.append(aws.invoke(endpoint)))
    waiting.start()
    aws.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=after)
    aws.settled(endpoint)
    waiting.join()
    assert answers == ["old"]
    assert aws.invoke(endpoint) == "new"


@pytest.mark.page("sagemaker/latest/APIReference/API_DeploymentConfig.html")
def test_deployments_that_sagemaker_refuses(aws: Account) -> None:
    before, after = aws.model("old"), aws.model("new")
    endpoint = aws.endpoint(before)
    for deployment, said in (
        (canary(60, SHORT), "at most 50%"),
        (canary(25, SHORT, ("nobody-made-it",)), "alarm nobody-made-it does not exist"),
    ):
        with pytest.raises(ClientError, match=said):
            aws.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=after, DeploymentConfig=deployment)
    assert aws.settled(endpoint)["EndpointConfigName"] == before


@pytest.mark.page("sagemaker/latest/dg/monitoring-cloudwatch.html")
def test_invocations_are_metrics_by_endpoint_variant_and_configuration(aws: Account) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html"""
    config = aws.model("one")
    endpoint = aws.endpoint(config)
    for body in ("", "", "wrong"):
        try:
            aws.invoke(endpoint, body)
        except aws.runtime.exceptions.ModelError:
            assert body == "wrong"
    cloudwatch = aws.client("cloudwatch")
    dimensions = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": "policy"}]

    def total(metric: str, statistic: str = "Sum", more: tuple[dict[str, str], ...] = ()) -> float:
        points = cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=metric,
            Dimensions=[*dimensions, *more],
            StartTime=0,
            EndTime=4e9,
            Period=86400,
            Statistics=[statistic],
        )["Datapoints"]
        return sum(point[statistic] for point in points)

    aws.until(lambda: total("Invocations") == 3, what="the invocations are published")
    assert total("Invocation4XXErrors") == 1
    assert total("Invocation5XXErrors") == 0
    assert total("ModelLatency", "Minimum") > 0
    assert total("Invocations", more=({"Name": "EndpointConfigName", "Value": config},)) == 3


def variant(model: str, name: str = "policy", **more: Any) -> dict[str, Any]:
    return {"VariantName": name, "ModelName": model, "InstanceType": "ml.t2.medium", "InitialInstanceCount": 1, **more}


@pytest.mark.page("sagemaker/latest/dg/shadow-tests.html")
def test_a_shadow_sees_requests_and_nobody_sees_its_answers(aws: Account) -> None:
    production, candidate = aws.model("production"), aws.model("candidate")
    config, captures = unique("shadowed"), aws.bucket()
    aws.sagemaker.create_endpoint_config(
        EndpointConfigName=config,
        ProductionVariants=[variant(production, InitialVariantWeight=1.0)],
        ShadowProductionVariants=[variant(candidate, "candidate", InitialVariantWeight=1.0)],
        DataCaptureConfig={
            "EnableCapture": True,
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": f"s3://{captures}/captured",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
        },
    )
    endpoint = aws.endpoint(config)
    assert {aws.invoke(endpoint, " said", ContentType="application/json") for _ in range(5)} == {"production said"}

    def captured(name: str) -> list[dict[str, Any]]:
        listed = aws.s3.list_objects_v2(Bucket=captures, Prefix=f"captured/{endpoint}/{name}/").get("Contents", [])
        bodies = [aws.s3.get_object(Bucket=captures, Key=item["Key"])["Body"].read() for item in listed]
        return [json.loads(line) for body in bodies for line in body.splitlines()]

    aws.until(lambda: len(captured("policy")) == len(captured("candidate")) == 5, what="both variants are captured")
    [record, *_] = captured("candidate")
    assert record["captureData"]["endpointInput"]["data"] == " said"
    output = record["captureData"]["endpointOutput"]
    assert (output["encoding"], base64.b64decode(output["data"])) == ("BASE64", b"candidate said")
    description = aws.sagemaker.describe_endpoint(EndpointName=endpoint)
    assert [item["VariantName"] for item in description["ShadowProductionVariants"]] == ["candidate"]
    assert description["DataCaptureConfig"]["CaptureStatus"] == "Started"


@pytest.mark.page("sagemaker/latest/dg/model-ab-testing.html")
def test_a_variant_may_be_asked_for_by_name(aws: Account) -> None:
    one, two = aws.model("one"), aws.model("two")
    config = unique("variants")
    aws.sagemaker.create_endpoint_config(
        EndpointConfigName=config,
        ProductionVariants=[
            variant(one, "one", InitialVariantWeight=1.0),
            variant(two, "two", InitialVariantWeight=0.0),
        ],
    )
    endpoint = aws.endpoint(config)
    assert {aws.invoke(endpoint) for _ in range(5)} == {"one"}
    assert aws.invoke(endpoint, TargetVariant="two") == "two"
    with pytest.raises(ClientError, match="Variant three is not found"):
        aws.invoke(endpoint, TargetVariant="three")


@pytest.mark.page("sagemaker/latest/dg/serverless-endpoints.html")
def test_a_serverless_variant_has_no_instances(aws: Account) -> None:
    model, config = aws.model("cheap"), unique("serverless")
    serverless = {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
    aws.sagemaker.create_endpoint_config(
        EndpointConfigName=config,
        ProductionVariants=[{"VariantName": "policy", "ModelName": model, "ServerlessConfig": serverless}],
    )
    endpoint = aws.endpoint(config)
    assert aws.invoke(endpoint) == "cheap"
    [summary] = aws.sagemaker.describe_endpoint(EndpointName=endpoint)["ProductionVariants"]
    assert summary["CurrentServerlessConfig"] == serverless
    assert "CurrentInstanceCount" not in summary

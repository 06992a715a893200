"""What is left over of runs, on the deployed laptop, whose sweeper ends it."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from contract.outcomes import Outcome
from tests.pipeline.laptop import QUICK, Laptop, until

LATER = (datetime.now(UTC) + timedelta(hours=3)).isoformat()
"""When nothing that these tests leave over may still end by itself."""


def sweep(laptop: Laptop, at: str = LATER) -> dict[str, dict[str, Any]]:
    """One sweep at this time: what was found, by its name."""
    functions = laptop.client("lambda")
    (name,) = [f["FunctionName"] for f in functions.list_functions()["Functions"] if "-Sweeper" in f["FunctionName"]]
    answer = functions.invoke(FunctionName=name, Payload=json.dumps({"time": at}).encode())
    document = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, document
    return {orphan["name"]: orphan for orphan in document["orphans"]}


def submit_by_hand(laptop: Laptop, run_id: str) -> str:
    """A job of a run that there is not, and that would go on for long."""
    (queue,) = [
        q["jobQueueName"] for q in laptop.batch.describe_job_queues()["jobQueues"] if "GpuQueue" in q["jobQueueName"]
    ]
    (definition,) = [
        it["jobDefinitionArn"]
        for it in laptop.batch.describe_job_definitions(status="ACTIVE")["jobDefinitions"]
        if "TrainGpu" in it["jobDefinitionName"]
    ]
    job_id: str = laptop.batch.submit_job(
        jobName=f"{run_id}-seed-0",
        jobQueue=queue,
        jobDefinition=definition,
        parameters={"run": f"s3://{laptop.artifacts_bucket}/runs/{run_id}", "seed": "0"},
        containerOverrides={"command": ["-c", "import time; time.sleep(600)"]},
    )["jobId"]
    return job_id


def test_a_job_without_a_run_is_ended(laptop: Laptop) -> None:
    job_id = submit_by_hand(laptop, "nobodys-000000000000")

    def status() -> str:
        found: str = laptop.batch.describe_jobs(jobs=[job_id])["jobs"][0]["status"]
        return found

    until(lambda: status() == "RUNNING", seconds=60, what="the job runs")
    assert job_id not in sweep(laptop, datetime.now(UTC).isoformat()), "it may have come before its run"
    assert sweep(laptop)[job_id]["kind"] == "job"
    until(lambda: status() == "FAILED", seconds=60, what="the job is terminated")


def test_an_endpoint_that_nobody_owns_is_deleted_and_a_champions_is_not(laptop: Laptop) -> None:
    run_id = laptop.drop("owned", QUICK)
    laptop.reaches(run_id, Outcome.SUCCEEDED)
    laptop.sagemaker.create_endpoint(EndpointName="forgotten", EndpointConfigName=run_id)
    until(
        lambda: laptop.sagemaker.describe_endpoint(EndpointName="forgotten")["EndpointStatus"] == "InService",
        seconds=60,
        what="the endpoint is there",
    )
    found = sweep(laptop)
    assert found["forgotten"]["kind"] == "endpoint"
    assert "owned" not in found
    until(
        lambda: not laptop.sagemaker.list_endpoints(NameContains="forgotten")["Endpoints"],
        seconds=30,
        what="the endpoint is deleted",
    )
    assert laptop.serves("owned") == run_id


def test_a_service_that_nobody_owns_is_deleted(laptop: Laptop) -> None:
    run_id = laptop.drop("owned-afloat", QUICK + "deploy: {target: ecs}")
    laptop.reaches(run_id, Outcome.SUCCEEDED)
    ecs = laptop.client("ecs")
    (cluster,) = [arn for arn in ecs.list_clusters()["clusterArns"] if "rlpipe-local" in arn]
    (owned,) = ecs.describe_services(cluster=cluster, services=["owned-afloat"])["services"]
    same = ("taskDefinition", "launchType", "desiredCount", "networkConfiguration", "loadBalancers")
    ecs.create_service(cluster=cluster, serviceName="adrift", **{name: owned[name] for name in same})
    found = sweep(laptop)
    assert found["adrift"]["kind"] == "service"
    assert "owned-afloat" not in found
    left = ecs.describe_services(cluster=cluster, services=["adrift"])["services"]
    assert [service["status"] for service in left] in ([], ["DRAINING"], ["INACTIVE"])


def test_a_run_whose_end_was_never_written_down_is_finished(laptop: Laptop) -> None:
    (table,) = [name for name in laptop.client("dynamodb").list_tables()["TableNames"] if "-runs-" in name]
    at = datetime.now(UTC).isoformat()
    item = {"run_id": "lost-000000000000", "kind": "run", "experiment": "lost", "state": "VALIDATING"}
    text = {name: {"S": value} for name, value in {**item, "submitted_at": at, "updated_at": at}.items()}
    history = [{"M": {"at": {"S": at}, "by": {"S": "pipeline"}, "state": {"S": "VALIDATING"}}}]
    laptop.client("dynamodb").put_item(
        TableName=table, Item={**text, "version": {"N": "1"}, "history": {"L": history}, "jobs": {"M": {}}}
    )
    assert sweep(laptop)["lost-000000000000"]["kind"] == "record"
    record = laptop.reaches("lost-000000000000", Outcome.FAILED)
    assert record["reason"] == "its execution is gone"


def test_a_laptop_on_which_all_is_well_has_no_leftovers(laptop: Laptop) -> None:
    assert sweep(laptop) == {}

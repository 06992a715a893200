"""What `--keep` keeps, whatever ends the instance."""

import json
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.conformance.account import unique, until
from tests.conformance.embedded import Instance
from tests.conformance.machine import Desk, Machine
from tests.conformance.test_table import Table


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Instance]:
    aws = Instance(tmp_path, "--keep")
    yield aws
    aws.stop()


def crash(aws: Instance) -> None:
    """End it as nothing can be prepared for, and start the next in its folder."""
    aws.process.send_signal(signal.SIGKILL)
    aws.process.wait()
    aws.process = aws.start()


def saved(aws: Instance) -> None:
    """Wait until what was made so far is in the folder; an account's settings are saved within a second or so."""
    mark = aws.state_dir / "kept" / "saved"
    before = mark.stat().st_mtime if mark.exists() else 0.0

    def again() -> bool:
        aws.is_healthy()
        return mark.exists() and mark.stat().st_mtime > before

    until(again, what="everything is saved", seconds=60)


def test_kill_9_loses_no_object_no_item_and_no_finished_run(kept: Instance) -> None:
    bucket, table = kept.bucket(versioned=True), Table(kept)
    machine = Machine(kept, {"Done": {"Type": "Pass", "Output": {"answer": 42}, "End": True}})
    saved(kept)
    versions = [kept.s3.put_object(Bucket=bucket, Key="x", Body=str(n).encode())["VersionId"] for n in range(20)]
    table.put("run", state={"S": "TRAINING"})
    table.update("run", "SET phase = :p", p={"S": "DONE"})
    execution = machine.start()
    machine.end(execution)

    crash(kept)

    assert kept.s3.get_object(Bucket=bucket, Key="x")["Body"].read() == b"19"
    listed = kept.s3.list_object_versions(Bucket=bucket)["Versions"]
    assert {item["VersionId"] for item in listed} == set(versions)
    assert kept.s3.get_object(Bucket=bucket, Key="x", VersionId=versions[3])["Body"].read() == b"3"
    assert kept.s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert table.get("run")["phase"] == {"S": "DONE"}
    description = machine.describe(execution)
    assert (description["status"], json.loads(description["output"])) == ("SUCCEEDED", {"answer": 42})
    assert machine.history(execution)[-1]["type"] == "ExecutionSucceeded"
    with pytest.raises(ClientError, match="ExecutionAlreadyExists"):
        machine.start(name=execution.rpartition(":")[2])
    assert machine.output() == {"answer": 42}, "and it goes on"


def test_endpoints_serve_again_and_jobs_are_known(kept: Instance) -> None:
    queue = kept.queue()
    job = kept.end(kept.submit(kept.definition("say", "x"), queue))
    running = kept.submit(kept.definition("graceful"), queue)
    kept.says(running, "training")
    config = kept.model("still here")
    endpoint = kept.endpoint(config)
    function = kept.function("def handler(event, context):\n    return 'called'\n")
    saved(kept)

    crash(kept)

    assert kept.job(job["jobId"])["status"] == "SUCCEEDED"
    assert kept.job(running)["statusReason"].startswith("Host EC2")
    assert kept.settled(endpoint)["EndpointConfigName"] == config
    assert kept.invoke(endpoint) == "still here"
    assert kept.functions.invoke(FunctionName=function)["Payload"].read() == b'"called"'
    assert kept.lines(kept.end(kept.submit(kept.definition("say", "again"), queue))) == ["again"]


def test_services_on_ecs_answer_again(kept: Instance) -> None:
    ecs, balancing, role = kept.client("ecs"), kept.client("elbv2"), kept.role("jobs")
    cluster = ecs.create_cluster(clusterName=unique("cluster"))["cluster"]["clusterName"]
    [balancer] = balancing.create_load_balancer(Name="keeper", Subnets=["subnet-1"])["LoadBalancers"]
    nobody = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}
    [listener] = balancing.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"], Protocol="HTTP", Port=80, DefaultActions=[nobody]
    )["Listeners"]
    first, second = (
        balancing.create_target_group(Name=name, Protocol="HTTP", Port=8080, VpcId="vpc-1", TargetType="ip")[
            "TargetGroups"
        ][0]["TargetGroupArn"]
        for name in ("first", "second")
    )
    weights = [{"TargetGroupArn": first, "Weight": 100}, {"TargetGroupArn": second, "Weight": 0}]
    [rule] = balancing.create_rule(
        ListenerArn=listener["ListenerArn"],
        Priority=1,
        Conditions=[{"Field": "path-pattern", "Values": ["/invocations"]}],
        Actions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": weights}}],
    )["Rules"]
    log = {"awslogs-group": "tasks", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "task"}
    ecs.register_task_definition(
        family="served",
        executionRoleArn=role,
        taskRoleArn=role,
        containerDefinitions=[
            {
                "name": "policy",
                "image": kept.serving_image,
                "logConfiguration": {"logDriver": "awslogs", "options": log},
            }
        ],
    )
    shifting = {"alternateTargetGroupArn": second, "productionListenerRule": rule["RuleArn"], "roleArn": role}
    ecs.create_service(
        cluster=cluster,
        serviceName="served",
        taskDefinition="served",
        desiredCount=1,
        loadBalancers=[
            {
                "targetGroupArn": first,
                "containerName": "policy",
                "containerPort": 8080,
                "advancedConfiguration": shifting,
            }
        ],
        deploymentConfiguration={"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0},
    )

    def answers() -> bool:
        try:
            urllib.request.urlopen(f"{kept.url}/_alb/keeper/invocations", b"wrong", timeout=10)
        except urllib.error.HTTPError as error:
            return (error.code, error.read()) == (400, b"expected something else")  # the container's own words
        return False

    until(answers, what="the task answers")
    saved(kept)

    crash(kept)

    until(answers, what="a task answers again")
    [service] = ecs.describe_services(cluster=cluster, services=["served"])["services"]
    assert (service["status"], service["runningCount"]) == ("ACTIVE", 1)


def test_an_execution_that_was_interrupted_is_aborted_and_whoever_watches_is_told(kept: Instance) -> None:
    machine = Machine(kept, {"Ask": Desk(kept).task()})
    heard = kept.listener({"source": ["aws.states"], "detail": {"status": ["ABORTED"]}})
    execution = machine.start()
    saved(kept)

    crash(kept)

    description = machine.describe(execution)
    assert (description["status"], description["error"]) == ("ABORTED", "EmbeddedAws.Ended")
    assert kept.until(heard, what="it is told")[0]["detail"]["executionArn"] == execution


def test_an_ordinary_end_loses_nothing_at_all(kept: Instance) -> None:
    name = unique("parameter")
    kept.client("ssm").put_parameter(Name=name, Value="kept", Type="String")

    kept.stop()
    kept.process = kept.start()

    assert kept.client("ssm").get_parameter(Name=name)["Parameter"]["Value"] == "kept"


def test_without_it_nothing_is_kept(tmp_path: Path) -> None:
    aws = Instance(tmp_path)
    bucket = aws.bucket()
    aws.stop()
    aws.process = aws.start()

    assert bucket not in [item["Name"] for item in aws.s3.list_buckets()["Buckets"]]
    assert not (tmp_path / "kept").exists()
    aws.stop()

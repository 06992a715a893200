"""Roles: who acts in whose name, and what happens to what nobody allowed."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.account import Account, policy, unique
from tests.conformance.machine import Desk, Machine, task

LOGS = {
    "Effect": "Allow",
    "Action": ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
    "Resource": "*",
}
FUNCTION = """
import boto3

def handler(event, context):
    client = boto3.client(event["service"])
    try:
        answer = getattr(client, event["call"])(**event["arguments"])
    except client.exceptions.ClientError as error:
        return {"code": error.response["Error"]["Code"], "message": error.response["Error"]["Message"]}
    return {"code": "", "who": answer.get("Arn", "")}
"""


def allowed(action: str, *resources: str, **condition: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": list(resources), **condition}


def calling(aws: Account, *statements: dict[str, Any]) -> Any:
    """What a function of a role with these statements is told by `call(service, operation, **arguments)`."""
    name = aws.function(FUNCTION, Role=aws.make_role("lambda", LOGS, *statements))

    def call(service: str, operation: str, **arguments: Any) -> Any:
        event = {"service": service, "call": operation, "arguments": arguments}
        answer = aws.functions.invoke(FunctionName=name, Payload=json.dumps(event))
        return json.loads(answer["Payload"].read())

    return call


@pytest.mark.page("lambda/latest/dg/lambda-intro-execution-role.html")
def test_a_function_acts_as_its_role(aws: Account) -> None:
    who = calling(aws)("sts", "get_caller_identity")["who"]

    assert ":assumed-role/rlpipe-conformance-lambda" in who


@pytest.mark.page("AmazonCloudWatch/latest/monitoring/iam-cw-condition-keys-namespace.html")
def test_metrics_are_put_into_the_namespaces_that_a_policy_names(aws: Account) -> None:
    condition = {"StringEquals": {"cloudwatch:namespace": "Ours"}}
    call = calling(aws, allowed("cloudwatch:PutMetricData", "*", Condition=condition))
    data = [{"MetricName": "Steps", "Value": 1.0}]

    assert call("cloudwatch", "put_metric_data", Namespace="Ours", MetricData=data)["code"] == ""
    assert call("cloudwatch", "put_metric_data", Namespace="Theirs", MetricData=data)["code"].startswith("AccessDenied")


@pytest.mark.page("IAM/latest/UserGuide/reference_policies_evaluation-logic.html")
def test_what_nobody_allowed_is_denied_and_the_refusal_says_what(aws: Account) -> None:
    bucket, other = aws.bucket(), aws.bucket()
    call = calling(aws, allowed("s3:PutObject", f"arn:aws:s3:::{bucket}/runs/*"))

    assert call("s3", "put_object", Bucket=bucket, Key="runs/a", Body="x")["code"] == ""
    assert call("s3", "put_object", Bucket=bucket, Key="other/a", Body="x")["code"] == "AccessDenied"
    refusal = call("s3", "put_object", Bucket=other, Key="runs/a", Body="x")
    assert refusal["code"] == "AccessDenied"
    assert "is not authorized to perform: s3:PutObject" in refusal["message"]


@pytest.mark.page("IAM/latest/UserGuide/reference_policies_evaluation-logic.html")
def test_a_denial_has_the_last_word(aws: Account) -> None:
    bucket = aws.bucket()
    everything = allowed("s3:*", "*")
    denied = {"Effect": "Deny", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/sealed/*"}
    call = calling(aws, everything, denied)

    assert call("s3", "put_object", Bucket=bucket, Key="open", Body="x")["code"] == ""
    assert call("s3", "put_object", Bucket=bucket, Key="sealed/x", Body="x")["code"] == "AccessDenied"


@pytest.mark.page("AmazonS3/latest/API/API_GetObject.html")
def test_who_may_not_list_a_bucket_is_not_told_what_it_lacks(aws: Account) -> None:
    bucket = aws.bucket()
    reads = allowed("s3:GetObject", f"arn:aws:s3:::{bucket}/*")
    lists = allowed("s3:ListBucket", f"arn:aws:s3:::{bucket}")

    assert calling(aws, reads)("s3", "get_object", Bucket=bucket, Key="nothing")["code"] == "AccessDenied"
    assert calling(aws, reads, lists)("s3", "get_object", Bucket=bucket, Key="nothing")["code"] == "NoSuchKey"


@pytest.mark.page("AmazonS3/latest/API/API_PutObject.html")
def test_to_tag_an_object_is_a_permission_of_its_own(aws: Account) -> None:
    bucket = aws.bucket()
    writes = allowed("s3:PutObject", f"arn:aws:s3:::{bucket}/*")
    tags = allowed("s3:PutObjectTagging", f"arn:aws:s3:::{bucket}/*")
    tagged = {"Bucket": bucket, "Key": "x", "Body": "x", "Tagging": "kind=checkpoint"}

    assert calling(aws, writes)("s3", "put_object", **tagged)["code"] == "AccessDenied"
    assert calling(aws, writes, tags)("s3", "put_object", **tagged)["code"] == ""


@pytest.mark.page("service-authorization/latest/reference/list_awsbatch.html")
def test_a_job_is_submitted_with_leave_for_its_definition_and_its_queue(aws: Account, queue: str) -> None:
    definition = aws.definition("say", "x")
    request = {"jobName": unique("job"), "jobQueue": queue, "jobDefinition": definition}

    half = calling(aws, allowed("batch:SubmitJob", queue))("batch", "submit_job", **request)
    whole = calling(aws, allowed("batch:SubmitJob", queue, definition))("batch", "submit_job", **request)

    assert (half["code"], whole["code"]) == ("AccessDeniedException", "")


@pytest.mark.page("IAM/latest/UserGuide/id_roles_use_passrole.html")
def test_a_role_is_passed_to_the_service_that_was_named_only(aws: Account) -> None:
    role = aws.role("sagemaker")
    create = allowed("sagemaker:CreateModel", aws.arn("sagemaker", "model/*"))

    def passing(service: str) -> dict[str, Any]:
        condition = {"StringEquals": {"iam:PassedToService": service}}
        return allowed("iam:PassRole", role, Condition=condition)

    def model() -> dict[str, Any]:
        return {
            "ModelName": unique("model"),
            "ExecutionRoleArn": role,
            "PrimaryContainer": {"Image": aws.serving_image},
        }

    assert calling(aws, create)("sagemaker", "create_model", **model())["code"] == "AccessDeniedException"
    wrong = calling(aws, create, passing("batch.amazonaws.com"))("sagemaker", "create_model", **model())
    right = calling(aws, create, passing("sagemaker.amazonaws.com"))("sagemaker", "create_model", **model())
    assert (wrong["code"], right["code"]) == ("AccessDeniedException", "")


@pytest.mark.page("step-functions/latest/dg/concept-create-iam-advanced.html")
def test_a_state_machine_calls_as_its_role_and_a_refusal_is_an_error_of_the_task(aws: Account) -> None:
    bucket = aws.bucket()
    aws.s3.put_object(Bucket=bucket, Key="open/x", Body=b"x")
    role = aws.make_role("states", allowed("s3:GetObject", f"arn:aws:s3:::{bucket}/open/*"))
    read = task(
        "arn:aws:states:::aws-sdk:s3:getObject",
        {"Bucket": bucket, "Key": "{% $states.input.key %}"},
        Catch=[{"ErrorEquals": ["States.ALL"], "Output": "{% $states.errorOutput.Error %}", "Next": "Told"}],
        Output="read",
    )
    machine = Machine(aws, {"Read": read, "Told": {"Type": "Succeed"}}, role=role)

    assert machine.output({"key": "open/x"}) == "read"
    assert machine.output({"key": "closed/x"}) == "S3.S3Exception"
    assert machine.output({"key": "open/nothing"}) == "S3.S3Exception", "who may not list is not told what is not there"


@pytest.mark.page("step-functions/latest/dg/connect-batch.html")
def test_an_execution_without_leave_to_terminate_leaves_its_job_running(aws: Account, queue: str) -> None:
    definition = aws.definition("graceful")
    rules = ["events:PutTargets", "events:PutRule", "events:DescribeRule", "batch:DescribeJobs"]
    statements = [allowed("batch:SubmitJob", queue, definition), {"Effect": "Allow", "Action": rules, "Resource": "*"}]
    arguments = {"JobName": unique("job"), "JobQueue": queue, "JobDefinition": definition}
    state = task("arn:aws:states:::batch:submitJob.sync", arguments)
    machine = Machine(aws, {"Train": state}, role=aws.make_role("states", *statements))
    execution = machine.start()
    job_id = machine.job_of(execution)
    aws.says(job_id, "training")

    aws.states.stop_execution(executionArn=execution)

    assert machine.end(execution)["status"] == "ABORTED"
    aws.batch.terminate_job(jobId=job_id, reason="done")
    assert aws.end(job_id)["statusReason"] == "done", "nobody had ended it before"


@pytest.mark.page("batch/latest/userguide/execution-IAM-role.html")
def test_a_job_whose_execution_role_may_not_write_its_log_does_not_start(aws: Account, queue: str) -> None:
    pulls = [
        "ecr:GetAuthorizationToken",
        "ecr:BatchCheckLayerAvailability",
        "ecr:GetDownloadUrlForLayer",
        "ecr:BatchGetImage",
    ]
    role = aws.make_role("jobs", {"Effect": "Allow", "Action": pulls, "Resource": "*"})

    job = aws.end(aws.submit(aws.definition("say", "x", container={"executionRoleArn": role}), queue))

    assert (job["status"], job["statusReason"]) == ("FAILED", "Task failed to start")
    assert "AccessDeniedException" in job["container"]["reason"]


@pytest.mark.page("AmazonECS/latest/developerguide/task-iam-roles.html")
def test_a_job_acts_as_its_job_role(aws: Account, queue: str) -> None:
    role = aws.make_role("jobs")

    job = aws.end(aws.submit(aws.definition("whoami", container={"jobRoleArn": role}), queue))

    assert f":assumed-role/{role.rpartition('/')[2]}/" in aws.lines(job)[0]


@pytest.mark.page("sagemaker/latest/dg/sagemaker-roles.html")
def test_a_model_that_its_role_may_not_read_is_refused(aws: Account) -> None:
    bucket = aws.bucket()
    aws.s3.put_object(Bucket=bucket, Key="model.tar.gz", Body=b"x")
    container = {"Image": aws.serving_image, "ModelDataUrl": f"s3://{bucket}/model.tar.gz"}

    with pytest.raises(ClientError, match="Could not access model data"):
        aws.sagemaker.create_model(
            ModelName=unique("model"), ExecutionRoleArn=aws.make_role("sagemaker"), PrimaryContainer=container
        )


@pytest.mark.page("eventbridge/latest/userguide/eb-use-resource-based.html")
def test_a_function_that_does_not_let_events_call_it_is_not_called(aws: Account) -> None:
    dead, source = aws.message_queue(), unique("source")
    name = aws.function("def handler(event, context):\n    pass\n")
    target = {"Arn": aws.arn("lambda", f"function:{name}"), "DeadLetterConfig": {"Arn": aws.arn_of_queue(dead)}}
    aws.rule(unique("rule"), {"source": [source]}, target)

    aws.events.put_events(Entries=[{"Source": source, "DetailType": "Tested", "Detail": json.dumps({"n": 1})}])

    (body,) = aws.until(lambda: aws.receive(dead), what="the event is kept", seconds=aws.until_given_up)
    assert json.loads(body)["detail"] == {"n": 1}


@pytest.mark.page("AmazonS3/latest/userguide/example-bucket-policies.html")
def test_a_bucket_may_deny_what_a_role_allows(aws: Account) -> None:
    bucket = aws.bucket()
    call = calling(aws, allowed("s3:PutObject", f"arn:aws:s3:::{bucket}/*"))
    sealed = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{bucket}/sealed/*",
    }
    aws.s3.put_bucket_policy(Bucket=bucket, Policy=policy(sealed))

    assert call("s3", "put_object", Bucket=bucket, Key="open", Body="x")["code"] == ""
    assert call("s3", "put_object", Bucket=bucket, Key="sealed/x", Body="x")["code"] == "AccessDenied"


@pytest.mark.page("AmazonCloudWatch/latest/monitoring/permissions-reference-cw.html")
def test_alarms_are_seen_and_deleted_with_leave_for_their_names(aws: Account) -> None:
    mine, other = unique("mine"), unique("other")
    call = calling(aws, allowed("cloudwatch:DeleteAlarms", aws.arn("cloudwatch", "alarm:mine-*")))

    assert call("cloudwatch", "delete_alarms", AlarmNames=[mine])["code"] == ""
    assert call("cloudwatch", "delete_alarms", AlarmNames=[mine, other])["code"].startswith("AccessDenied")


@pytest.mark.page("step-functions/latest/dg/concept-create-iam-advanced.html")
def test_a_token_is_answered_with_leave_for_its_state_machine_also_when_it_is_too_late(aws: Account) -> None:
    desk = Desk(aws)
    machine, other = Machine(aws, {"Ask": desk.task()}), Machine(aws, {"Ask": desk.task()})
    call = calling(aws, allowed("states:SendTaskSuccess", machine.arn))
    execution = machine.start()
    token = desk.token()

    assert call("stepfunctions", "send_task_success", taskToken=token, output="{}")["code"] == ""
    machine.end(execution)
    late = call("stepfunctions", "send_task_success", taskToken=token, output="{}")["code"]
    assert late in ("TaskTimedOut", "TaskDoesNotExist", "InvalidToken")
    stranger = other.start()
    denied = call("stepfunctions", "send_task_success", taskToken=desk.token(), output="{}")["code"]
    assert denied == "AccessDeniedException"
    aws.states.stop_execution(executionArn=stranger)

"""An AWS account as the tests use it: through the ordinary clients, be it the embedded one or a real one."""

import contextlib
import io
import itertools
import json
import os
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, TypeVar

import boto3
from botocore.config import Config

T = TypeVar("T")
_numbers = itertools.count()
_session = f"{os.getpid():x}"

_TRUSTED = {
    "apigateway": "apigateway.amazonaws.com",
    "jobs": "ecs-tasks.amazonaws.com",
    "lambda": "lambda.amazonaws.com",
    "sagemaker": "sagemaker.amazonaws.com",
    "states": "states.amazonaws.com",
}
_ALLOWED = {
    "apigateway": ["sagemaker:InvokeEndpoint"],
    "jobs": ["ecr:*", "logs:*"],
    "lambda": ["logs:*", "sqs:SendMessage"],
    "sagemaker": ["ecr:*", "logs:*", "s3:*", "cloudwatch:PutMetricData"],
    "states": [
        "batch:*",
        "events:*",
        "lambda:InvokeFunction",
        "s3:*",
        "sagemaker:*",
        "sqs:SendMessage",
        "iam:PassRole",
    ],
}


def policy(*statements: dict[str, Any]) -> str:
    """A policy document."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def until(condition: Callable[[], T | None], *, what: str, seconds: float = 60) -> T:
    """Ask until the answer is true; the bound is for machines under load."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


def unique(prefix: str) -> str:
    """A name that no other test uses, nor another session."""
    return f"{prefix}-{_session}-{next(_numbers)}"


class Account:
    """What a test may do in an account. Subclasses say where it is and what its containers run."""

    region = "us-east-1"
    account_id: str
    patience = 60.0
    """Seconds that something which takes a moment may take."""
    shortest_attempt = 60
    """Seconds of the shortest time limit that Batch accepts for an attempt."""
    a_while = "60"
    """Seconds, as text, for which a job is still there when another is looked at."""
    shortest_stuck = 600
    """Seconds of the shortest time limit that a queue accepts for jobs that can never run."""
    until_stuck = 1200.0
    """Seconds within which Batch says that a job can never run."""
    shortest_period = 60
    """Seconds of the shortest period of a query's values."""
    until_measured = 600.0
    """Seconds within which a metric is listed."""
    until_given_up = 600.0
    """Seconds within which an event that cannot be delivered is given up."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], Any]] = []
        self._roles: dict[str, str] = {}

    # --- what differs -------------------------------------------------------------------------------------------------

    def client(self, service: str) -> Any:
        """A client of the account that never tries again by itself, and sends what it is given."""
        raise NotImplementedError

    def role_is_made(self) -> None:
        """A role was made; returns when it can be used."""

    def job_container(self, *command: str) -> dict[str, Any]:
        """Container properties of a job that runs a command of `images.JOB`."""
        raise NotImplementedError

    @property
    def serving_image(self) -> str:
        """An image of `images.SERVER`."""
        raise NotImplementedError

    def environment(self, **resources: Any) -> str:
        """A compute environment; the result is its ARN."""
        raise NotImplementedError

    def api_url(self, api_id: str, stage: str) -> str:
        """Where the paths of a deployed API begin."""
        raise NotImplementedError

    # --- the same everywhere ------------------------------------------------------------------------------------------

    def made(self, undo: Callable[[], Any]) -> None:
        """Something was made; `undo` removes it at the end."""
        self._undo.append(undo)

    def clean_up(self) -> None:
        """Remove what the tests made, the newest first."""
        while self._undo:
            with contextlib.suppress(Exception):  # what the test has removed itself is gone already
                self._undo.pop()()

    def until(self, condition: Callable[[], T | None], *, what: str, seconds: float | None = None) -> T:
        """Ask until the answer is true."""
        return until(condition, what=what, seconds=seconds or self.patience)

    def _client(self, service: str, **options: Any) -> Any:
        config = Config(retries={"total_max_attempts": 1}, parameter_validation=False)
        return boto3.client(service, region_name=self.region, config=config, **options)  # type: ignore[call-overload]

    @cached_property
    def batch(self) -> Any:
        return self.client("batch")

    @cached_property
    def sagemaker(self) -> Any:
        return self.client("sagemaker")

    @cached_property
    def runtime(self) -> Any:
        return self.client("sagemaker-runtime")

    @cached_property
    def logs(self) -> Any:
        return self.client("logs")

    @cached_property
    def s3(self) -> Any:
        return self.client("s3")

    @cached_property
    def states(self) -> Any:
        return self.client("stepfunctions")

    @cached_property
    def functions(self) -> Any:
        return self.client("lambda")

    @cached_property
    def templates(self) -> Any:
        return self.client("cloudformation")

    @cached_property
    def events(self) -> Any:
        return self.client("events")

    @cached_property
    def sqs(self) -> Any:
        return self.client("sqs")

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource of this account."""
        return f"arn:aws:{service}:{self.region}:{self.account_id}:{resource}"

    def role(self, service: str) -> str:
        """The ARN of a role that `service` (such as `states`) may assume and that may do what the tests do."""
        if service not in self._roles:
            allowed = {"Effect": "Allow", "Action": _ALLOWED[service], "Resource": "*"}
            self._roles[service] = self.make_role(service, allowed)
        return self._roles[service]

    def make_role(self, service: str, *statements: dict[str, Any]) -> str:
        """A role that `service` may assume, and that is allowed this; the result is its ARN."""
        iam, name = self.client("iam"), unique(f"rlpipe-conformance-{service}")
        trust = {"Effect": "Allow", "Principal": {"Service": _TRUSTED[service]}, "Action": "sts:AssumeRole"}
        arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trust))["Role"]["Arn"]
        self.made(lambda: iam.delete_role(RoleName=name))
        if statements:
            iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=policy(*statements))
            self.made(lambda: iam.delete_role_policy(RoleName=name, PolicyName="all"))
        self.role_is_made()
        return arn

    # --- Batch --------------------------------------------------------------------------------------------------------

    def queue(self, *environments: str, **settings: Any) -> str:
        """A job queue over the environments in this order; the result is its ARN."""
        order = [
            {"order": number, "computeEnvironment": environment}
            for number, environment in enumerate(environments or (self.environment(),), start=1)
        ]
        arn: str = self.batch.create_job_queue(
            jobQueueName=unique("queue"), priority=1, computeEnvironmentOrder=order, **settings
        )["jobQueueArn"]
        self.made(lambda: self._delete_queue(arn))

        def valid() -> bool:
            return bool(self.batch.describe_job_queues(jobQueues=[arn])["jobQueues"][0]["status"] == "VALID")

        self.until(valid, what="the job queue is there")
        return arn

    def _delete_queue(self, arn: str) -> None:
        self.batch.update_job_queue(jobQueue=arn, state="DISABLED")
        self.until(
            lambda: self.batch.describe_job_queues(jobQueues=[arn])["jobQueues"][0]["status"] == "VALID",
            what="the job queue is disabled",
        )
        self.batch.delete_job_queue(jobQueue=arn)
        self.until(lambda: not self.batch.describe_job_queues(jobQueues=[arn])["jobQueues"], what="it is gone")

    def definition(self, *command: str, container: dict[str, Any] | None = None, **settings: Any) -> str:
        """A job definition; the result is its ARN."""
        given = container or {}
        properties = self.job_container(*command)
        needs = {item["type"]: item for item in properties.get("resourceRequirements", [])}
        needs |= {item["type"]: item for item in given.get("resourceRequirements", [])}
        arn: str = self.batch.register_job_definition(
            **{"jobDefinitionName": unique("definition"), "type": "container"},
            containerProperties={**properties, **given, "resourceRequirements": list(needs.values())},
            **settings,
        )["jobDefinitionArn"]
        self.made(lambda: self.batch.deregister_job_definition(jobDefinition=arn))
        return arn

    def submit(self, definition: str, queue: str, **settings: Any) -> str:
        """Submit a job; the result is its id."""
        settings.setdefault("jobName", unique("job"))
        job_id: str = self.batch.submit_job(jobQueue=queue, jobDefinition=definition, **settings)["jobId"]
        self.made(lambda: self.batch.terminate_job(jobId=job_id, reason="the tests are over"))
        return job_id

    def job(self, job_id: str) -> dict[str, Any]:
        job: dict[str, Any] = self.batch.describe_jobs(jobs=[job_id])["jobs"][0]
        return job

    def reaches(self, job_id: str, *states: str) -> dict[str, Any]:
        """The job once it is in one of these states."""

        def there() -> dict[str, Any] | None:
            job = self.job(job_id)
            return job if job["status"] in states else None

        return self.until(there, what=f"job {job_id} is {' or '.join(states)}")

    def end(self, job_id: str) -> dict[str, Any]:
        return self.reaches(job_id, "SUCCEEDED", "FAILED")

    def lines(self, job: dict[str, Any]) -> list[str]:
        """What the job's last attempt printed."""
        group = job["container"]["logConfiguration"]["options"].get("awslogs-group", "/aws/batch/job")
        return self.lines_of(group, job["container"]["logStreamName"])

    def lines_of(self, group: str, stream: str) -> list[str]:
        events = self.logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)["events"]
        return [event["message"] for event in events]

    def says(self, job_id: str, line: str) -> dict[str, Any]:
        """The running job once it has printed the line."""
        job = self.reaches(job_id, "RUNNING")
        self.until(lambda: line in self.lines(job), what=f"job {job_id} prints {line!r}")
        return job

    # --- S3 -----------------------------------------------------------------------------------------------------------

    def bucket(self, *, versioned: bool = False, events: bool = False) -> str:
        """A bucket of the test's own."""
        name = unique("rlpipe-conformance")
        self.s3.create_bucket(Bucket=name)
        self.made(lambda: self._delete_bucket(name))
        if versioned:
            self.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        if events:
            self.s3.put_bucket_notification_configuration(
                Bucket=name, NotificationConfiguration={"EventBridgeConfiguration": {}}
            )
        return name

    def _delete_bucket(self, name: str) -> None:
        listed = self.s3.list_object_versions(Bucket=name)
        for item in [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]:
            self.s3.delete_object(Bucket=name, Key=item["Key"], VersionId=item["VersionId"])
        self.s3.delete_bucket(Bucket=name)

    # --- queues, events -----------------------------------------------------------------------------------------------

    def message_queue(self) -> str:
        """The URL of an SQS queue that EventBridge and SNS may send to."""
        url: str = self.sqs.create_queue(QueueName=unique("messages"))["QueueUrl"]
        self.made(lambda: self.sqs.delete_queue(QueueUrl=url))
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": ["events.amazonaws.com", "sns.amazonaws.com"]},
            "Action": "sqs:SendMessage",
            "Resource": self.arn_of_queue(url),
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        return url

    def arn_of_queue(self, url: str) -> str:
        return self.arn("sqs", url.rpartition("/")[2])

    def receive(self, url: str) -> list[str]:
        """The bodies of the messages that are there, which are then gone."""
        bodies = []
        for message in self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            bodies.append(message["Body"])
        return bodies

    def listener(self, pattern: dict[str, Any]) -> Callable[[], list[dict[str, Any]]]:
        """Listen to events of the default bus; each call returns those that have come since the last."""
        url, name = self.message_queue(), unique("listener")
        self.rule(name, pattern, {"Arn": self.arn_of_queue(url)})
        return lambda: [json.loads(body) for body in self.receive(url)]

    def rule(self, name: str, pattern: dict[str, Any], target: dict[str, Any]) -> str:
        """A rule on the default bus with one target; the result is the rule's ARN."""
        arn: str = self.events.put_rule(Name=name, EventPattern=json.dumps(pattern))["RuleArn"]
        self.made(lambda: self.events.delete_rule(Name=name))
        self.events.put_targets(Rule=name, Targets=[{"Id": "target", **target}])
        self.made(lambda: self.events.remove_targets(Rule=name, Ids=["target"]))
        return arn

    # --- Lambda -------------------------------------------------------------------------------------------------------

    def function(self, code: str, **settings: Any) -> str:
        """A Python function whose `handler` is in `code`; the result is its name."""
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as package:
            package.writestr("index.py", code)
        name = unique("function")
        self.functions.create_function(
            FunctionName=name,
            Runtime="python3.12",
            Handler="index.handler",
            Code={"ZipFile": archive.getvalue()},
            **{"Role": self.role("lambda"), "Timeout": 30, **settings},
        )
        self.made(lambda: self.functions.delete_function(FunctionName=name))
        self.functions.get_waiter("function_active_v2").wait(FunctionName=name)
        return name

    # --- SageMaker ----------------------------------------------------------------------------------------------------

    @cached_property
    def _models(self) -> str:
        return self.bucket()

    def model(self, answer: str = "", **files: str) -> str:
        """A model whose archive holds the answer and the files; the result names the model and its configuration."""
        name = unique("model")
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            for path, content in {"answer": answer, **files}.items():
                member = tarfile.TarInfo(path)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content.encode()))
        self.s3.put_object(Bucket=self._models, Key=f"{name}/model.tar.gz", Body=archive.getvalue())
        self.sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn=self.role("sagemaker"),
            PrimaryContainer={"Image": self.serving_image, "ModelDataUrl": f"s3://{self._models}/{name}/model.tar.gz"},
        )
        self.made(lambda: self.sagemaker.delete_model(ModelName=name))
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[self.variant(name)])
        self.made(lambda: self.sagemaker.delete_endpoint_config(EndpointConfigName=name))
        return name

    def variant(self, model: str) -> dict[str, Any]:
        """A production variant of one instance that serves the model."""
        return {
            "VariantName": "policy",
            "ModelName": model,
            "InstanceType": "ml.t2.medium",
            "InitialInstanceCount": 1,
        }

    def create_endpoint(self, config: str) -> str:
        """An endpoint that is being created; the result is its name."""
        name = unique("endpoint")
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        self.made(lambda: self.sagemaker.delete_endpoint(EndpointName=name))
        return name

    def endpoint(self, config: str) -> str:
        """An endpoint that is in service; the result is its name."""
        name = self.create_endpoint(config)
        assert self.settled(name)["EndpointStatus"] == "InService"
        return name

    def settled(self, endpoint: str) -> dict[str, Any]:
        """The endpoint once nothing is in progress."""

        def done() -> dict[str, Any] | None:
            description: dict[str, Any] = self.sagemaker.describe_endpoint(EndpointName=endpoint)
            return description if not description["EndpointStatus"].endswith("ing") else None

        return self.until(done, what=f"endpoint {endpoint} is created or updated")

    def invoke(self, endpoint: str, body: str = "", **settings: Any) -> str:
        answer = self.runtime.invoke_endpoint(EndpointName=endpoint, Body=body.encode(), **settings)
        text: str = answer["Body"].read().decode()
        return text


@contextlib.contextmanager
def cleaned(account: Account) -> Iterator[Account]:
    """The account while the block runs; what was made in it is removed then."""
    try:
        yield account
    finally:
        account.clean_up()

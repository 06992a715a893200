"""The few AWS calls that `rlpipe` makes, answered from memory in the form that boto3 gives them."""

# ruff: noqa: N803 - the arguments are named as AWS names them

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

INPUT, ARTIFACTS = "in-bucket", "artifacts-bucket"
STATE_MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:pipeline"
API_URL = "https://abcdef1234.execute-api.us-east-1.amazonaws.com/v1/"
QUEUE = "arn:aws:batch:us-east-1:000000000000:job-queue/Cpu-1"
LOG_GROUP = "/rlpipe/jobs"
BEGAN = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def refusal(code: str, operation: str, message: str = "no", status: int = 400, **more: Any) -> ClientError:
    """An error as botocore raises it."""
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **more,
    }
    return ClientError(response, operation)


@dataclass
class Execution:
    name: str
    status: str = "RUNNING"
    states: list[str] = field(default_factory=list)
    """The states entered so far, a second apart."""
    error: str = ""
    cause: str = ""
    started: datetime = BEGAN

    @property
    def stopped(self) -> datetime | None:
        return None if self.status == "RUNNING" else self.started + timedelta(seconds=len(self.states))

    @property
    def events(self) -> list[dict[str, Any]]:
        return [
            {
                "id": number,
                "type": "TaskStateEntered",
                "timestamp": self.started + timedelta(seconds=number),
                "stateEnteredEventDetails": {"name": state},
            }
            for number, state in enumerate(self.states)
        ]


def record(run_id: str, state: str = "TRAINING", **more: Any) -> dict[str, Any]:
    """A run's record as the API answers it."""
    return {
        "run_id": run_id,
        "state": state,
        "wish": None,
        "submitted_at": BEGAN.isoformat(),
        "possible": [],
        "seeds": [0],
        "total_timesteps": 1000,
        "timesteps": 0,
        "mean_return": None,
        "cost_usd": 0.0,
        "price_per_hour": 0.0,
        "attempts": 1,
        "jobs": {},
        "history": [],
        "artifacts": f"s3://{ARTIFACTS}/runs/{run_id}",
        **more,
    }


@dataclass
class FakeJob:
    name: str
    status: str = "RUNNING"
    lines: list[str] = field(default_factory=list)
    earlier_attempts: list[list[str]] = field(default_factory=list)


class FakeAws:
    """One account; `client` is what boto3's would be."""

    def __init__(self) -> None:
        self.executions: dict[str, Execution] = {}
        self.objects: dict[tuple[str, str], bytes] = {}
        self.jobs: list[FakeJob] = []
        self.endpoints: dict[str, Callable[[Any], Any]] = {}
        self.outputs: dict[str, dict[str, str]] = {}
        self.records: dict[str, dict[str, Any]] = {}
        """Of the run table, newest first."""
        self.policies: dict[str, dict[str, Any]] = {}
        """What is different at an endpoint."""
        self.monthly_usd: dict[str, float] = {"sagemaker": 0.0}
        self.answers: list[tuple[int, dict[str, Any]]] = []
        """To the next commands, one each; then the record."""
        self.given: list[tuple[str, str, str | None]] = []
        """Run, command and reason of the commands so far."""
        self.submitted: list[tuple[str, str]] = []
        """Experiment and run file of what was submitted through the API."""
        self.requests_a_minute: float = 0
        """What CloudWatch says of every endpoint."""
        self.calls: list[str] = []
        self.failures: list[Exception] = []
        """Raised by the next calls, one each."""
        self.versions = True

    def client(self, service: str) -> "FakeClient":
        return FakeClient(self, service)

    def put(self, key: str, document: Any) -> None:
        self.objects[ARTIFACTS, key] = json.dumps(document).encode()

    # The pipeline's own API -------------------------------------------------------------------------------------------

    def request(
        self, method: str, path: str, body: Any = None, *, query: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """What the API answers: records as they were put, and commands as `answers` says."""
        self.calls.append(f"{method} {path}")
        if self.failures:
            raise self.failures.pop(0)
        if (method, path) == ("POST", "/runs"):
            assert isinstance(body, str), "a run file goes as it was written"
            self.submitted.append(((query or {})["experiment"], body))
            return 202, {"run_id": f"{(query or {})['experiment']}-new"}
        if path == "/runs":
            first, limit = int((query or {}).get("next", 0)), int((query or {})["limit"])
            listed = list(self.records.values())
            more = str(first + limit) if first + limit < len(listed) else None
            return 200, {"runs": listed[first : first + limit], "next": more}
        if path == "/policies":
            return 200, {"policies": [self._policy(name) for name in self.endpoints], "monthly_usd": self.monthly_usd}
        if path.startswith("/policies/"):
            return self._of_policy(path.split("/")[2:], body or {})
        _, _, run_id, *command = path.split("/")
        if not command and run_id not in self.records:
            return 404, {"error": "unknown", "message": f"there is no run {run_id}"}
        if not command:
            return 200, self.records[run_id]
        self.given.append((run_id, command[0], (body or {}).get("reason")))
        return self.answers.pop(0) if self.answers else (202, self.records[run_id])

    def _policy(self, name: str) -> dict[str, Any]:
        return {
            "endpoint": name,
            "status": "InService",
            "updated_at": BEGAN.isoformat(),
            "run_id": "cartpole-2",
            "target": "sagemaker",
            "since": BEGAN.isoformat(),
            "before": "cartpole-1",
            "kept": ["cartpole-1", "cartpole-2"],
            "mean_return": 480.0,
            "monthly_usd": 40.88,
            "expires_at": None,
            "history": [],
            **self.policies.get(name, {}),
        }

    def _of_policy(self, path: list[str], body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        name, *command = path
        if not command:
            return 200, self._policy(name)
        self.given.append((name, command[0], body.get("to") or body.get("reason")))
        if self.answers:
            return self.answers.pop(0)
        changes: dict[str, dict[str, Any]] = {
            "rollback": {"run_id": body.get("to"), "status": "InService"},
            "off": {"status": "Off", "monthly_usd": 0.0},
            "on": {"status": "InService"},
            "delete": {"status": "Deleted", "kept": [], "monthly_usd": 0.0},
        }
        self.policies[name] = {**self.policies.get(name, {}), **changes[command[0]]}
        return 202, {**self._policy(name), "status": "Updating"}

    # Step Functions ---------------------------------------------------------------------------------------------------

    def _execution(self, arn: str, operation: str) -> Execution:
        prefix, name = arn.rsplit(":", 1)
        found = self.executions.get(name)
        if prefix != STATE_MACHINE.replace(":stateMachine:", ":execution:") or found is None:
            raise refusal("ExecutionDoesNotExist", operation)
        return found

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:
        found = self._execution(executionArn, "DescribeExecution")
        ended = {"stopDate": found.stopped} if found.stopped else {}
        failed = {"error": found.error, "cause": found.cause} if found.error or found.cause else {}
        return {"name": found.name, "status": found.status, "startDate": found.started, **ended, **failed}

    def list_executions(self, *, stateMachineArn: str) -> dict[str, Any]:
        assert stateMachineArn == STATE_MACHINE
        listed = [
            {"name": e.name, "status": e.status, "startDate": e.started, "stopDate": e.stopped}
            for e in sorted(self.executions.values(), key=lambda e: e.started, reverse=True)
        ]
        return {"executions": [{k: v for k, v in item.items() if v is not None} for item in listed]}

    def get_execution_history(
        self,
        *,
        executionArn: str,
        reverseOrder: bool = False,
        **_: Any,
    ) -> dict[str, Any]:
        events = self._execution(executionArn, "GetExecutionHistory").events
        return {"events": events[::-1] if reverseOrder else events}

    def describe_state_machine(self, *, stateMachineArn: str) -> dict[str, Any]:
        assert stateMachineArn == STATE_MACHINE
        return {"definition": json.dumps({"JobQueue": QUEUE, "Other": f"{{% $lookup({{'cpu': '{QUEUE}'}}, $q) %}}"})}

    # Batch and its logs -----------------------------------------------------------------------------------------------

    def list_jobs(self, *, jobQueue: str, filters: list[dict[str, Any]]) -> dict[str, Any]:
        assert jobQueue == QUEUE
        ((pattern,),) = [entry["values"] for entry in filters if entry["name"] == "JOB_NAME"]
        assert pattern.endswith("*")
        return {"jobSummaryList": [{"jobId": j.name} for j in self.jobs if j.name.startswith(pattern[:-1])]}

    def describe_jobs(self, *, jobs: list[str]) -> dict[str, Any]:
        return {"jobs": [self._job(job) for job in self.jobs if job.name in jobs]}

    def _job(self, job: FakeJob) -> dict[str, Any]:
        earlier = [
            {"container": {"logStreamName": f"{job.name}/{number}"}} for number, _ in enumerate(job.earlier_attempts)
        ]
        current = {"logStreamName": f"{job.name}/now"} if job.status not in ("SUBMITTED", "RUNNABLE") else {}
        options = {"logDriver": "awslogs", "options": {"awslogs-group": LOG_GROUP}}
        return {
            "jobName": job.name,
            "jobId": job.name,
            "status": job.status,
            "attempts": earlier,
            "container": {"logConfiguration": options, **current},
        }

    def get_log_events(
        self,
        *,
        logGroupName: str,
        logStreamName: str,
        startFromHead: bool,
        nextToken: str = "f/0",
    ) -> dict[str, Any]:
        assert (logGroupName, startFromHead) == (LOG_GROUP, True)
        name, _, attempt = logStreamName.rpartition("/")
        (job,) = [job for job in self.jobs if job.name == name]
        lines = job.lines if attempt == "now" else job.earlier_attempts[int(attempt)]
        if not lines:
            raise refusal("ResourceNotFoundException", "GetLogEvents")
        first = int(nextToken.removeprefix("f/"))
        base = 0 if attempt != "now" else 1000
        events = [
            {"timestamp": base + number, "message": line} for number, line in enumerate(lines[first:], start=first)
        ]
        return {"events": events, "nextForwardToken": f"f/{len(lines)}"}

    # S3, SageMaker, CloudFormation ------------------------------------------------------------------------------------

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, ContentType: str) -> dict[str, Any]:
        self.objects[Bucket, Key] = Body
        return {"VersionId": f"v{len(self.objects)}"} if self.versions else {}

    def upload_file(self, *, Filename: str, Bucket: str, Key: str) -> None:
        self.objects[Bucket, Key] = Path(Filename).read_bytes()

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        if (Bucket, Key) not in self.objects:
            raise refusal("NoSuchKey", "GetObject", status=404)
        return {"Body": io.BytesIO(self.objects[Bucket, Key])}

    def list_objects_v2(self, *, Bucket: str, Prefix: str) -> dict[str, Any]:
        return {
            "Contents": [{"Key": key} for bucket, key in self.objects if bucket == Bucket and key.startswith(Prefix)]
        }

    def get_metric_statistics(self, *, MetricName: str, EndTime: datetime, **_: Any) -> dict[str, Any]:
        if not self.requests_a_minute or MetricName not in ("Invocations", "ModelLatency"):
            return {"Datapoints": []}
        value = self.requests_a_minute if MetricName == "Invocations" else 1500.0
        return {"Datapoints": [{"Timestamp": EndTime - timedelta(minutes=2), "Sum": value, "Average": value}]}

    def invoke_endpoint(self, *, EndpointName: str, Body: str, **_: Any) -> dict[str, Any]:
        if EndpointName not in self.endpoints:
            raise refusal("ValidationError", "InvokeEndpoint", f"Endpoint {EndpointName} not found.")
        return {"Body": io.BytesIO(json.dumps(self.endpoints[EndpointName](json.loads(Body))).encode())}

    def list_endpoints(self) -> dict[str, Any]:
        return {"Endpoints": [{"EndpointName": name} for name in self.endpoints]}

    def describe_stacks(self, *, StackName: str) -> dict[str, Any]:
        if StackName not in self.outputs:
            raise refusal("ValidationError", "DescribeStacks", f"Stack with id {StackName} does not exist")
        outputs = [{"OutputKey": k, "OutputValue": v} for k, v in self.outputs[StackName].items()]
        return {"Stacks": [{"StackName": StackName, "Outputs": outputs}]}


class FakeClient:
    def __init__(self, aws: FakeAws, service: str) -> None:
        self._aws = aws
        self._service = service

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        method = getattr(self._aws, operation)

        def call(**request: Any) -> Any:
            self._aws.calls.append(operation)
            if self._aws.failures:
                raise self._aws.failures.pop(0)
            return method(**request)

        return call

    def get_paginator(self, operation: str) -> "FakePaginator":
        return FakePaginator(getattr(self, operation))


class FakePaginator:
    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def paginate(self, *, PaginationConfig: Any = None, **request: Any) -> Iterator[Any]:
        yield self._call(**request)

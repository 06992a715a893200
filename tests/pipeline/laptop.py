"""A deployed laptop, as the tests use it: everything through the ordinary AWS clients."""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import boto3
from botocore.config import Config

from cli.api import Api
from contract.layout import ENDPOINT_HEADER, RunLayout, run_id_of

T = TypeVar("T")

QUICK = """
environment: {id: CartPole-v1}
timesteps: 2048
validation: {episodes: 20, min_return: 5, compare_to_champion: false}
limits: {max_hours: 0.5}
"""
"""Trains for a moment and passes: what follows training is what a test wants to see."""


def until(
    condition: Callable[[], T | None], *, seconds: float, what: str, instead: Callable[[], object] | None = None
) -> T:
    """Ask until the answer is true; the poll is short and the bound is for machines under load.

    :param instead: what there is instead, for the message when it is not.
    """
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            seen = f"; instead: {instead()}" if instead else ""
            raise AssertionError(f"not within {seconds:g} s: {what}{seen}")
        time.sleep(0.05)


@dataclass(frozen=True, kw_only=True)
class Laptop:
    """A running embedded AWS with the stacks deployed to it."""

    endpoint_url: str
    outputs: dict[str, str]
    environment: dict[str, str]
    state_dir: Path

    def client(self, service: str) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.endpoint_url,
            region_name="us-east-1",
            config=Config(retries={"total_max_attempts": 1}, max_pool_connections=64),
        )

    @cached_property
    def s3(self) -> Any:
        return self.client("s3")

    @cached_property
    def states(self) -> Any:
        return self.client("stepfunctions")

    @cached_property
    def batch(self) -> Any:
        return self.client("batch")

    @cached_property
    def sagemaker(self) -> Any:
        return self.client("sagemaker")

    @cached_property
    def runtime(self) -> Any:
        return self.client("sagemaker-runtime")

    @property
    def input_bucket(self) -> str:
        return self.outputs["InputBucketName"]

    @property
    def artifacts_bucket(self) -> str:
        return self.outputs["ArtifactsBucketName"]

    @property
    def state_machine(self) -> str:
        return self.outputs["StateMachineArn"]

    def drop(self, experiment: str, content: str | bytes) -> str:
        """Drop a run file; the id of the run that it starts."""
        key = f"{experiment}/run.yaml"
        body = content.encode() if isinstance(content, str) else content
        version = self.s3.put_object(Bucket=self.input_bucket, Key=key, Body=body)["VersionId"]
        return run_id_of(self.input_bucket, key, version)

    def execution_arn(self, run_id: str) -> str:
        return f"{self.state_machine.replace(':stateMachine:', ':execution:')}:{run_id}"

    def execution(self, run_id: str) -> dict[str, Any] | None:
        try:
            description: dict[str, Any] = self.states.describe_execution(executionArn=self.execution_arn(run_id))
        except self.states.exceptions.ExecutionDoesNotExist:
            return None
        return description

    def end_of(self, run_id: str, *, seconds: float = 120) -> dict[str, Any]:
        """The execution's description once it is over."""

        def ended() -> dict[str, Any] | None:
            description = self.execution(run_id)
            return description if description and description["status"] != "RUNNING" else None

        return until(ended, seconds=seconds, what=f"{run_id} ends")

    def outcome(self, run_id: str) -> dict[str, Any]:
        """`outcome.json` of a run that is over."""
        return self.json(RunLayout(run_id=run_id).outcome)

    def json(self, key: str) -> dict[str, Any]:
        body = self.s3.get_object(Bucket=self.artifacts_bucket, Key=key)["Body"].read()
        document: dict[str, Any] = json.loads(body)
        return document

    def exists(self, bucket: str, key: str) -> bool:
        listed = self.s3.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", [])
        return any(item["Key"] == key for item in listed)

    def predict(self, endpoint: str, observation: list[float]) -> dict[str, Any]:
        return self.ask(endpoint, {"observation": observation})

    def ask(self, endpoint: str, request: dict[str, Any]) -> dict[str, Any]:
        response = self.runtime.invoke_endpoint(
            EndpointName=endpoint, ContentType="application/json", Body=json.dumps(request)
        )
        answer: dict[str, Any] = json.loads(response["Body"].read())
        return answer

    def ask_service(self, endpoint: str, request: dict[str, Any]) -> dict[str, Any]:
        """The answer of an endpoint on ECS, at the load balancer."""
        [balancer] = self.client("elbv2").describe_load_balancers()["LoadBalancers"]
        asked = urllib.request.Request(
            f"{self.endpoint_url}/_alb/{balancer['LoadBalancerName']}/invocations",
            json.dumps(request).encode(),
            {"Content-Type": "application/json", ENDPOINT_HEADER: endpoint},
        )
        with urllib.request.urlopen(asked, timeout=30) as response:
            answer: dict[str, Any] = json.load(response)
            return answer

    def serves(self, endpoint: str) -> str:
        """The configuration that an endpoint serves; it is named by the run."""
        description = self.sagemaker.describe_endpoint(EndpointName=endpoint)
        assert description["EndpointStatus"] == "InService"
        config: str = description["EndpointConfigName"]
        return config

    def jobs_of(self, run_id: str) -> list[dict[str, Any]]:
        """Every Batch job of a run, in whatever state."""
        found = []
        for queue in self.batch.describe_job_queues()["jobQueues"]:
            found += self.batch.list_jobs(
                jobQueue=queue["jobQueueArn"], filters=[{"name": "JOB_NAME", "values": [f"{run_id}-*"]}]
            )["jobSummaryList"]
        return found

    @contextmanager
    def broken(self, file: str, fault: str) -> Iterator[None]:
        """Put code at the beginning of a file of the images that were deployed, as a bad release would."""
        (found,) = [
            path
            for path in (self.state_dir / "cdk.out").glob(f"asset.*/{file}")
            if (path.parent / "Dockerfile").exists()
        ]
        original = found.read_text(encoding="utf-8")
        found.write_text(fault + original, encoding="utf-8")
        try:
            yield
        finally:
            found.write_text(original, encoding="utf-8")

    # --- control ------------------------------------------------------------------------------------------------------

    @cached_property
    def api(self) -> Api:
        return Api(self.outputs["ApiUrl"], boto3.Session(region_name="us-east-1"), is_local=True)

    def record(self, run_id: str) -> dict[str, Any]:
        """The run's record; empty while it has none."""
        status, document = self.api.request("GET", f"/runs/{run_id}")
        return document if status == 200 else {}

    def state_of(self, run_id: str) -> str:
        state: str = self.record(run_id).get("state", "")
        return state

    def reaches(self, run_id: str, *states: str, seconds: float = 60) -> dict[str, Any]:
        """The run's record once it is in one of these states."""

        def there() -> dict[str, Any] | None:
            record = self.record(run_id)
            return record if record.get("state") in states else None

        return until(there, seconds=seconds, what=f"{run_id} is {' or '.join(states)}")

    def command(self, run_id: str, command: str, reason: str = "") -> tuple[int, dict[str, Any]]:
        return self.api.request("POST", f"/runs/{run_id}/{command}", {"reason": reason} if reason else {})

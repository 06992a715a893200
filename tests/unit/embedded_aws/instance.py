"""A running instance as the tests use it: through the ordinary AWS clients."""

import io
import itertools
import json
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import boto3
import psutil
from botocore.config import Config

from tests.unit.embedded_aws import images

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[3]
_numbers = itertools.count()


def until(condition: Callable[[], T | None], *, what: str, seconds: float = 20) -> T:
    """Ask until the answer is true; the bound is for machines under load."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def unique(prefix: str) -> str:
    """A name that no other test uses."""
    return f"{prefix}-{next(_numbers)}"


class Instance:
    """`python -m embedded_aws` with short delays, and two images in its assembly."""

    def __init__(self, state_dir: Path, *options: str) -> None:
        self.state_dir = state_dir
        self.options = options
        self.port = free_port()
        self.assembly = self.state_dir / "cdk.out"
        self.assembly.mkdir(parents=True, exist_ok=True)
        self.job_image = images.job_image(self.assembly)
        self.serving_image = images.serving_image(self.assembly)
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = self.start()
        self.batch = self.client("batch")
        self.sagemaker = self.client("sagemaker")
        self.runtime = self.client("sagemaker-runtime")
        self.logs = self.client("logs")
        self.s3 = self.client("s3")
        self.states = self.client("stepfunctions")
        self.functions = self.client("lambda")
        self.templates = self.client("cloudformation")

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "embedded_aws"]
        delays = ["--kill-grace-seconds", "1", "--minimum-timeout-seconds", "1", "--startup-seconds", "3"]
        with (self.state_dir / "log").open("ab") as log:
            process = subprocess.Popen(
                [*command, "--port", str(self.port), "--state-dir", str(self.state_dir), *delays, *self.options],
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        until(lambda: process.poll() is not None or self.is_healthy(), what="the instance answers")
        assert process.poll() is None, (self.state_dir / "log").read_text()
        return process

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)

    def is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    @property
    def marker(self) -> str:
        marker: str = json.loads((self.state_dir / "instance.json").read_text())["marker"]
        return marker

    def client(self, service: str) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
        )

    # --- Batch --------------------------------------------------------------------------------------------------------

    def environment(self, **resources: Any) -> str:
        """A compute environment; the result is its ARN."""
        arn: str = self.batch.create_compute_environment(
            computeEnvironmentName=unique("environment"),
            type="MANAGED",
            computeResources={"type": "EC2", "maxvCpus": 64, "instanceTypes": ["c6i.large"], **resources},
        )["computeEnvironmentArn"]
        return arn

    def queue(self, *environments: str, **settings: Any) -> str:
        """A job queue over the environments in this order; the result is its ARN."""
        order = [
            {"order": number, "computeEnvironment": environment}
            for number, environment in enumerate(environments or (self.environment(),), start=1)
        ]
        arn: str = self.batch.create_job_queue(
            jobQueueName=unique("queue"), priority=1, computeEnvironmentOrder=order, **settings
        )["jobQueueArn"]
        return arn

    def definition(self, *command: str, container: dict[str, Any] | None = None, **settings: Any) -> str:
        """A job definition; the result is its ARN."""
        arn: str = self.batch.register_job_definition(
            jobDefinitionName=unique("definition"),
            type="container",
            containerProperties={"image": self.job_image, "command": list(command), **(container or {})},
            **settings,
        )["jobDefinitionArn"]
        return arn

    def submit(self, definition: str, queue: str, **settings: Any) -> str:
        """Submit a job; the result is its id."""
        settings.setdefault("jobName", unique("job"))
        job_id: str = self.batch.submit_job(jobQueue=queue, jobDefinition=definition, **settings)["jobId"]
        return job_id

    def job(self, job_id: str) -> dict[str, Any]:
        job: dict[str, Any] = self.batch.describe_jobs(jobs=[job_id])["jobs"][0]
        return job

    def reaches(self, job_id: str, *states: str) -> dict[str, Any]:
        """The job once it is in one of these states."""

        def there() -> dict[str, Any] | None:
            job = self.job(job_id)
            return job if job["status"] in states else None

        return until(there, what=f"job {job_id} is {' or '.join(states)}")

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
        until(lambda: line in self.lines(job), what=f"job {job_id} prints {line!r}")
        return job

    # --- SageMaker ----------------------------------------------------------------------------------------------------

    def model(self, answer: str = "", **files: str) -> str:
        """A model whose archive holds the answer and the files; the result names the model and its configuration."""
        name = unique("model")
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            for path, content in {"answer": answer, **files}.items():
                member = tarfile.TarInfo(path)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content.encode()))
        if "models" not in [bucket["Name"] for bucket in self.s3.list_buckets()["Buckets"]]:
            self.s3.create_bucket(Bucket="models")
        self.s3.put_object(Bucket="models", Key=f"{name}/model.tar.gz", Body=archive.getvalue())
        self.sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn="arn:aws:iam::000000000000:role/model",
            PrimaryContainer={"Image": self.serving_image, "ModelDataUrl": f"s3://models/{name}/model.tar.gz"},
        )
        variant = {
            "VariantName": "policy",
            "ModelName": name,
            "InstanceType": "ml.t2.medium",
            "InitialInstanceCount": 1,
        }
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        return name

    def endpoint(self, config: str) -> str:
        """An endpoint that is in service; the result is its name."""
        name = unique("endpoint")
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        assert self.settled(name)["EndpointStatus"] == "InService"
        return name

    def settled(self, endpoint: str) -> dict[str, Any]:
        """The endpoint once nothing is in progress."""

        def done() -> dict[str, Any] | None:
            description: dict[str, Any] = self.sagemaker.describe_endpoint(EndpointName=endpoint)
            return description if description["EndpointStatus"] not in ("Creating", "Updating") else None

        return until(done, what=f"endpoint {endpoint} is created or updated")

    def invoke(self, endpoint: str, body: str = "", **settings: Any) -> str:
        answer = self.runtime.invoke_endpoint(EndpointName=endpoint, Body=body.encode(), **settings)
        text: str = answer["Body"].read().decode()
        return text


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

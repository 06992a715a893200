"""One Batch job: its record as DescribeJobs shows it, and the thread that takes it through its attempts."""

import os
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from embedded_aws import hooks
from embedded_aws.access import permissions
from embedded_aws.compute.retries import retries
from embedded_aws.processes.ahead import Ahead
from embedded_aws.processes.containers import job_options
from embedded_aws.processes.images import ImageNotFoundError, LocalImage, resolve
from embedded_aws.processes.process import GroupRegister, LocalProcess, LogShipper
from embedded_aws.settings import NO_CREDENTIALS, Settings, arn

WAITING = ("SUBMITTED", "PENDING", "RUNNABLE")
FINISHED = ("SUCCEEDED", "FAILED")
DEFAULT_LOG_GROUP = "/aws/batch/job"
_EXITED = "Essential container in task exited"
_TIMED_OUT = "Job attempt duration exceeded timeout"


def now() -> int:
    """Milliseconds since 1970, Batch's unit of time."""
    return int(time.time() * 1000)


@dataclass
class Place:
    """What a job takes of the compute environment it was placed in."""

    environment: str
    vcpus: float


@dataclass(eq=False)
class Job:
    """A submitted job. The scheduler's lock guards `status`, `place` and the wish to end."""

    record: dict[str, Any]
    queue: str
    image: str
    local_image: LocalImage | None
    retry_strategy: dict[str, Any]
    timeout_seconds: float | None
    log_group: str
    log_stream_prefix: str
    may_create_log_group: bool
    depends_on: list[str]
    vcpus: float
    gpus: int
    place: Place | None = None
    has_time_limit: bool = False
    """Whether a time limit of its queue for jobs that can never be placed is running."""
    ended_by: str | None = None
    """The reason given by TerminateJob or CancelJob."""
    process: LocalProcess | None = None
    finished: threading.Event = field(default_factory=threading.Event)

    @property
    def job_id(self) -> str:
        """The job's id."""
        return str(self.record["jobId"])

    @property
    def status(self) -> str:
        """SUBMITTED, PENDING, RUNNABLE, STARTING, RUNNING, SUCCEEDED or FAILED."""
        return str(self.record["status"])

    def move(self, status: str, reason: str | None = None) -> None:
        """Enter a state and publish the change of state as Batch does."""
        self.record["status"] = status
        if reason is not None:
            self.record["statusReason"] = reason
        if status in FINISHED:
            self.record["stoppedAt"] = now()
        hooks.put_event("aws.batch", "Batch Job State Change", dict(self.record), [self.record["jobArn"]])
        if status in FINISHED:
            self.finished.set()


@dataclass(frozen=True)
class _Ended:
    """How an attempt ended."""

    exit_code: int | None
    status_reason: str
    reason: str = ""
    final: bool = False
    """Whether it must not be retried whatever the strategy says."""


class JobRunner:
    """Runs the attempts of jobs that were placed."""

    def __init__(self, settings: Settings, groups: GroupRegister, logs: LogShipper) -> None:
        self._settings = settings
        self._groups = groups
        self._logs = logs
        self._ahead = Ahead(groups)

    def prepare(self, image: LocalImage) -> bool:
        """Have a process ready for the next job of an image; whether the image asks for that."""
        if self._settings.engine or not image.ahead:
            return False
        self._ahead.prepare(image)
        return True

    def start(self, job: Job, lock: threading.RLock, release: Callable[[Job], None]) -> None:
        """Run the next attempt of a placed job in the background.

        `release` is called with the lock held when the attempt is over; a job that has another attempt is RUNNABLE.
        """
        threading.Thread(target=self._attempt, args=(job, lock, release), name=f"job-{job.job_id}", daemon=True).start()

    def _attempt(self, job: Job, lock: threading.RLock, release: Callable[[Job], None]) -> None:
        started = now()
        stream = f"{job.log_stream_prefix}/default/{uuid.uuid4().hex}"
        number = len(job.record["attempts"]) + 1
        ended = self._run(job, stream, number, lock)
        if job.local_image:  # if it has said nothing at all
            self.prepare(job.local_image)
        self._logs.flush()
        container: dict[str, Any] = {"logStreamName": stream}
        if ended.exit_code is not None:
            container["exitCode"] = ended.exit_code
        if ended.reason:
            container["reason"] = ended.reason
        with lock:
            job.process = None
            job.record["container"] = {
                key: value for key, value in job.record["container"].items() if key not in ("exitCode", "reason")
            } | container
            attempt = {"container": container, "startedAt": job.record.get("startedAt", started), "stoppedAt": now()}
            job.record["attempts"].append({**attempt, "statusReason": ended.status_reason})
            if ended.exit_code == 0 and job.ended_by is None:
                job.move("SUCCEEDED", ended.status_reason)
            elif job.ended_by is not None:
                job.move("FAILED", job.ended_by)
            elif not ended.final and retries(
                job.retry_strategy,
                attempts_made=number,
                exit_code=ended.exit_code,
                status_reason=ended.status_reason,
                reason=ended.reason,
            ):
                job.record.pop("startedAt", None)
                job.move("RUNNABLE", ended.status_reason)
            else:
                job.move("FAILED", ended.status_reason)
            release(job)

    def _run(self, job: Job, stream: str, number: int, lock: threading.RLock) -> _Ended:
        try:
            start = self._starter(job, stream, number)
        except (ImageNotFoundError, OSError, ValueError) as error:
            reason = (
                f"CannotPullContainerError: Error response from daemon: manifest for {job.image} not found: {error}"
            )
            return _Ended(None, "Task failed to start", reason)
        if not (job.may_create_log_group or hooks.log_group_exists(job.log_group)):
            reason = (
                "CannotStartContainerError: Error response from daemon: failed to initialize logging driver: "
                f"the log group {job.log_group} does not exist"
            )
            return _Ended(None, "Task failed to start", reason)
        if denied := self._denied(job, stream):
            return _Ended(None, "Task failed to start", denied)
        hooks.create_log_stream(job.log_group, stream)
        with lock:
            if job.ended_by is not None:
                return _Ended(None, job.ended_by)
            try:
                job.process = start()
            except OSError as error:
                return _Ended(None, "Task failed to start", f"CannotStartContainerError: {error}")
            job.record["startedAt"] = now()
            job.record["container"]["logStreamName"] = stream
            job.move("RUNNING")
        return self._wait(job, job.process)

    def _denied(self, job: Job, stream: str) -> str | None:
        """Why Batch may not start the container in the name of its execution role."""
        role = job.record["container"].get("executionRoleArn")
        if not role:
            return None
        try:
            permissions.check_pull(role, job.image)
        except permissions.DeniedError as denied:
            return f"CannotPullContainerError: AccessDeniedException: {denied}"
        try:
            permissions.check_log(role, job.log_group, stream)
        except permissions.DeniedError as denied:
            return f"CannotStartContainerError: failed to initialize logging driver: AccessDeniedException: {denied}"
        return None

    def _wait(self, job: Job, process: LocalProcess) -> _Ended:
        try:
            exit_code = process.wait(job.timeout_seconds)
            return _Ended(exit_code, _EXITED, process.reason)
        except subprocess.TimeoutExpired:
            process.stop(self._settings.kill_grace_seconds)
            return _Ended(process.wait(), _TIMED_OUT, final=True)

    def _starter(self, job: Job, stream: str, number: int) -> Callable[[], LocalProcess]:
        """What starts the attempt, in a container or as a process. Raises ImageNotFoundError without its image."""
        container, engine = job.record["container"], self._settings.engine
        environment = self._environment(job, number)

        def log(line: str) -> None:
            self._logs.write(job.log_group, stream, line)

        if engine:
            if not engine.has(job.image):
                raise ImageNotFoundError("the container engine does not have it")
            return lambda: engine.run(
                job.image,
                container["command"],
                options=job_options(container, has_gpus=engine.has_gpus),
                environment=environment,
                on_line=log,
                groups=self._groups,
            )
        image = job.local_image or resolve(job.image, self._settings.assemblies)
        argv, variables = image.argv(container["command"]), {**os.environ, **image.environment, **environment}
        first = threading.Event()

        def log_and_prepare(line: str) -> None:
            log(line)
            if not first.is_set():  # a process for the next job is not started in the way of this one
                first.set()
                self.prepare(image)

        return lambda: LocalProcess(
            argv,
            cwd=image.directory,
            environment=variables,
            on_line=log_and_prepare,
            groups=self._groups,
            started=self._ahead.take(image, argv, variables),
        )

    def _environment(self, job: Job, number: int) -> dict[str, str]:
        declared = {entry["name"]: entry["value"] for entry in job.record["container"]["environment"]}
        role = job.record["container"]["jobRoleArn"]
        return {
            **self._settings.client_environment(),
            **(permissions.credentials(role, job.job_id) if role else NO_CREDENTIALS),
            "AWS_BATCH_JOB_ID": job.job_id,
            "AWS_BATCH_JOB_ATTEMPT": str(number),
            "AWS_BATCH_JQ_NAME": job.queue,
            "AWS_BATCH_CE_NAME": job.place.environment if job.place else "",
            **declared,
        }


def new_record(name: str, queue_arn: str, definition_arn: str) -> dict[str, Any]:
    """The description of a job that was just submitted."""
    job_id = str(uuid.uuid4())
    return {
        "jobArn": arn("batch", f"job/{job_id}"),
        "jobId": job_id,
        "jobName": name,
        "jobQueue": queue_arn,
        "jobDefinition": definition_arn,
        "status": "SUBMITTED",
        "attempts": [],
        "createdAt": now(),
    }


def ended_job(record: dict[str, Any], queue: str) -> Job:
    """A job of an instance before this one."""
    if record["status"] not in FINISHED:
        record.update(status="FAILED", statusReason="Host EC2 (instance) terminated.", stoppedAt=now())
    job = Job(
        record=record,
        queue=queue,
        image=record["container"]["image"],
        local_image=None,
        retry_strategy=record["retryStrategy"],
        timeout_seconds=None,
        log_group="",
        log_stream_prefix="",
        may_create_log_group=False,
        depends_on=[],
        vcpus=0,
        gpus=0,
    )
    job.finished.set()
    return job

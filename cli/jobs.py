"""The Batch jobs of a run and what they write."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cli.deployment import Deployment
from cli.errors import error_code

if TYPE_CHECKING:
    from mypy_boto3_batch.type_defs import JobDetailTypeDef

_QUEUE = re.compile(r"arn:[a-z-]+:batch:[a-z0-9-]*:[0-9]*:job-queue/[A-Za-z0-9_-]+")
_DESCRIBED_AT_ONCE = 100


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job: a seed's training or the validation."""

    name: str
    """What it does in the run: `seed-0` or `validate`."""
    status: str
    reason: str
    log_group: str
    log_streams: tuple[str, ...]
    """One an attempt, in order."""


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """A line that a job wrote."""

    job: str
    timestamp: int
    """Milliseconds since 1970, UTC."""
    message: str


def queues(deployment: Deployment) -> list[str]:
    """The ARNs of the queues that the pipeline submits to, as its own definition names them."""
    return queues_in(
        deployment.states.describe_state_machine(stateMachineArn=deployment.state_machine_arn)["definition"]
    )


def queues_in(definition: str) -> list[str]:
    """The ARNs of the queues that a state machine's definition names."""
    return sorted(set(_QUEUE.findall(definition)))


def jobs_of(deployment: Deployment, run_id: str, among: Iterable[str]) -> list[Job]:
    """The jobs of a run in these queues, by name. Batch remembers a finished job for about a week."""
    ids = [
        summary["jobId"]
        for queue in among
        for page in deployment.batch.get_paginator("list_jobs").paginate(
            jobQueue=queue, filters=[{"name": "JOB_NAME", "values": [f"{run_id}-*"]}]
        )
        for summary in page["jobSummaryList"]
    ]
    details = [
        detail
        for first in range(0, len(ids), _DESCRIBED_AT_ONCE)
        for detail in deployment.batch.describe_jobs(jobs=ids[first : first + _DESCRIBED_AT_ONCE])["jobs"]
    ]
    return sorted((_job(detail, run_id) for detail in details), key=lambda job: _natural(job.name))


class LogReader:
    """Reads what the jobs of a run write, each line once."""

    def __init__(self, deployment: Deployment) -> None:
        self._logs = deployment.logs
        self._tokens: dict[tuple[str, str], str] = {}
        self._unread: list[LogLine] = []

    def read(self, jobs: Iterable[Job]) -> list[LogLine]:
        """The lines written since the last call that succeeded, in the order of their time."""
        for job in jobs:
            for stream in job.log_streams:
                self._unread.extend(self._new(job, stream))
        lines, self._unread = self._unread, []
        return sorted(lines, key=lambda line: line.timestamp)

    def _new(self, job: Job, stream: str) -> Iterator[LogLine]:
        from botocore.exceptions import ClientError

        place = (job.log_group, stream)
        while True:
            request: dict[str, Any] = {"logGroupName": job.log_group, "logStreamName": stream, "startFromHead": True}
            if place in self._tokens:
                request["nextToken"] = self._tokens[place]
            try:
                answer = self._logs.get_log_events(**request)
            except ClientError as error:
                if error_code(error) == "ResourceNotFoundException":
                    return  # the container has not written yet
                raise
            for event in answer["events"]:
                yield LogLine(job=job.name, timestamp=event["timestamp"], message=event["message"])
            self._tokens[place] = answer["nextForwardToken"]
            if not answer["events"]:
                return


def _job(detail: "JobDetailTypeDef", run_id: str) -> Job:
    container: Any = detail.get("container", {})
    attempts: list[Any] = list(detail.get("attempts", []))
    streams = [attempt.get("container", {}).get("logStreamName") for attempt in attempts]
    streams.append(container.get("logStreamName"))
    return Job(
        name=detail["jobName"].removeprefix(f"{run_id}-"),
        status=detail["status"],
        reason=detail.get("statusReason", ""),
        log_group=container.get("logConfiguration", {}).get("options", {}).get("awslogs-group", "/aws/batch/job"),
        log_streams=tuple(dict.fromkeys(stream for stream in streams if stream)),
    )


def _natural(name: str) -> tuple[str, int]:
    """Seeds in the order of their numbers, validation after them."""
    word, _, number = name.rpartition("-")
    return (word, int(number)) if number.isdigit() else (name, 0)

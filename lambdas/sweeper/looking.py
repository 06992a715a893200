"""Finding what is left over. Nothing here changes anything.

Everything has a while to end by itself first: a terminated job writes a checkpoint, an event takes its time.
"""

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3

from contract.control import Phase
from contract.layout import champion_key
from contract.orphans import Kind, Orphan
from contract.record import KIND, NEWEST_FIRST
from contract.services import family_of
from lambdas.items import from_item, to_item

if TYPE_CHECKING:
    from mypy_boto3_batch.literals import JobStatusType

_batch = boto3.client("batch")
_dynamodb = boto3.client("dynamodb")
_ecs = boto3.client("ecs")
_s3 = boto3.client("s3")
_sagemaker = boto3.client("sagemaker")
_states = boto3.client("stepfunctions")

GRACE = timedelta(minutes=10)
"""How long a job or a record may outlive its execution."""

SILENCE = timedelta(minutes=30)
"""How long an execution may go on after the end of its last job."""

ENDPOINT_GRACE = timedelta(hours=1)
"""How long an endpoint may be without a champion: a deployment takes minutes."""

OLDEST = timedelta(days=30)
"""Runs that were submitted before this are over: an execution ends after 14 days, and a redriven one after 14 more."""

_ALIVE: "tuple[JobStatusType, ...]" = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
_MOST_DESCRIBED = 100
_MOST_SERVICES = 10
"""That ECS describes at once."""


def jobs(now: datetime) -> Iterator[Orphan]:
    """Jobs whose run is over."""
    for queue in _queues():
        ids = [
            job["jobId"]
            for status in _ALIVE
            for page in _batch.get_paginator("list_jobs").paginate(jobQueue=queue, jobStatus=status)
            for job in page["jobSummaryList"]
        ]
        for first in range(0, len(ids), _MOST_DESCRIBED):
            for job in _batch.describe_jobs(jobs=ids[first : first + _MOST_DESCRIBED])["jobs"]:
                run_id = str(job.get("parameters", {}).get("run", "")).rpartition("/")[2]
                if not run_id or job["status"] not in _ALIVE:
                    continue  # somebody else's, or it has ended since
                run = execution(run_id)
                if _goes_on(run) or now - (_ended(run) or _moment(job["createdAt"])) < GRACE:
                    continue
                yield Orphan(
                    kind=Kind.JOB,
                    name=job["jobId"],
                    run_id=run_id,
                    why=f"the job {job['jobName']} is {job['status']}, and its run {_since_when(run)}",
                    fix=f"aws batch terminate-job --job-id {job['jobId']} --reason 'its run is over'",
                )


def runs(now: datetime) -> Iterator[Orphan]:
    """Executions whose jobs are gone, and runs whose end was never written down."""
    for record in _unfinished(now):
        run_id, state = record["run_id"], record["state"]
        run = execution(run_id)
        if not _goes_on(run):
            if now - (_ended(run) or _parsed(record["updated_at"])) >= GRACE:
                yield Orphan(
                    kind=Kind.RECORD,
                    name=run_id,
                    run_id=run_id,
                    why=f"the run is {state} in the run table, and its execution {_since_when(run)}",
                    fix=f"rlpipe show {run_id}   # the sweeper writes its end down where sweeper.mode is end",
                )
        elif state in (Phase.TRAINING, Phase.VALIDATING):
            quiet_since = _quiet_since(record)
            if quiet_since is not None and now - quiet_since >= SILENCE:
                yield Orphan(
                    kind=Kind.EXECUTION,
                    name=run_id,
                    run_id=run_id,
                    why=f"the run is {state}, and none of its jobs has lived since "
                    f"{quiet_since.isoformat(timespec='seconds')}",
                    fix=f"aws stepfunctions stop-execution --execution-arn {execution_arn(run_id)} --error FAILED",
                )


def endpoints(now: datetime) -> Iterator[Orphan]:
    """Endpoints of this stage that no champion serves at and no run is deploying to."""
    for page in _sagemaker.get_paginator("list_endpoints").paginate():
        for endpoint in page["Endpoints"]:
            name = endpoint["EndpointName"]
            if endpoint["EndpointStatus"] == "Deleting" or now - endpoint["LastModifiedTime"] < ENDPOINT_GRACE:
                continue
            # A configuration is named after the run whose policy it serves.
            run_id = _sagemaker.describe_endpoint(EndpointName=name)["EndpointConfigName"]
            if not _is_ours(run_id) or _has_champion(name) or _goes_on(execution(run_id)):
                continue
            yield Orphan(
                kind=Kind.ENDPOINT,
                name=name,
                run_id=run_id,
                why=f"the endpoint is {endpoint['EndpointStatus']} with the policy of {run_id}, which is over, and no "
                "champion serves there",
                fix=f"aws sagemaker delete-endpoint --endpoint-name {name}",
            )


def services(now: datetime) -> Iterator[Orphan]:
    """Services on ECS that no champion serves at and no run is deploying to. In the stage's cluster all are its own."""
    cluster = os.environ["SERVICES_CLUSTER"]
    if not cluster:
        return
    pages = _ecs.get_paginator("list_services").paginate(cluster=cluster)
    names = [arn for page in pages for arn in page["serviceArns"]]
    for first in range(0, len(names), _MOST_SERVICES):
        described = _ecs.describe_services(cluster=cluster, services=names[first : first + _MOST_SERVICES])
        for service in described["services"]:
            name, run_id = service["serviceName"], family_of(service["taskDefinition"])
            changed = max([service["createdAt"], *(it["updatedAt"] for it in service.get("deployments", []))])
            if service["status"] != "ACTIVE" or now - changed < ENDPOINT_GRACE:
                continue
            if _has_champion(name) or _goes_on(execution(run_id)):
                continue
            yield Orphan(
                kind=Kind.SERVICE,
                name=name,
                run_id=run_id,
                why=f"the service on ECS has the policy of {run_id}, which is over, and no champion serves there",
                fix=f"aws ecs delete-service --force --cluster {cluster} --service {name}",
            )


def execution_arn(run_id: str) -> str:
    """The ARN of the execution that is named by a run."""
    return f"{os.environ['STATE_MACHINE_ARN'].replace(':stateMachine:', ':execution:')}:{run_id}"


def execution(run_id: str) -> dict[str, Any] | None:
    """A run's execution; None when there is none."""
    try:
        found: Any = _states.describe_execution(executionArn=execution_arn(run_id))
    except (_states.exceptions.ExecutionDoesNotExist, _states.exceptions.InvalidArn):
        return None
    return dict(found)


def _queues() -> list[str]:
    return os.environ["JOB_QUEUES"].split(",")


def _goes_on(run: dict[str, Any] | None) -> bool:
    return run is not None and run["status"] in ("RUNNING", "PENDING_REDRIVE")


def _ended(run: dict[str, Any] | None) -> datetime | None:
    ended: datetime | None = (run or {}).get("stopDate")
    return ended


def _since_when(run: dict[str, Any] | None) -> str:
    ended = _ended(run)
    return "is not there" if ended is None else f"has been over since {ended.isoformat(timespec='seconds')}"


def _unfinished(now: datetime) -> Iterator[dict[str, Any]]:
    """The records of runs that are in a phase, without their history."""
    phases = {f":phase{number}": str(phase) for number, phase in enumerate(Phase)}
    pages = _dynamodb.get_paginator("query").paginate(
        TableName=os.environ["RUN_TABLE"],
        IndexName=NEWEST_FIRST,
        KeyConditionExpression="kind = :kind AND submitted_at > :oldest",
        FilterExpression=f"#state IN ({', '.join(phases)})",
        ExpressionAttributeNames={"#state": "state"},
        ExpressionAttributeValues=to_item({":kind": KIND, ":oldest": (now - OLDEST).isoformat(), **phases}),
    )
    for page in pages:
        yield from (from_item(item) for item in page["Items"])


def _quiet_since(record: dict[str, Any]) -> datetime | None:
    """Since when nothing has happened in the run; None while one of its jobs lives."""
    last = _parsed(record["updated_at"])
    for queue in _queues():
        pages = _batch.get_paginator("list_jobs").paginate(
            jobQueue=queue, filters=[{"name": "JOB_NAME", "values": [f"{record['run_id']}-*"]}]
        )
        for job in (job for page in pages for job in page["jobSummaryList"]):
            if job["status"] in _ALIVE:
                return None
            last = max(last, _moment(job.get("stoppedAt", job["createdAt"])))
    return last


def _is_ours(model: str) -> bool:
    """Whether a model runs as this stage's role; one that is gone says nothing."""
    try:
        role: str = _sagemaker.describe_model(ModelName=model)["ExecutionRoleArn"]
    except _sagemaker.exceptions.ClientError:
        return False
    return role == os.environ["MODEL_ROLE_ARN"]


def _has_champion(endpoint: str) -> bool:
    try:
        _s3.get_object(Bucket=os.environ["ARTIFACTS_BUCKET"], Key=champion_key(endpoint))
    except _s3.exceptions.NoSuchKey:
        return False
    return True


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000).astimezone()


def _parsed(text: str) -> datetime:
    return datetime.fromisoformat(text)

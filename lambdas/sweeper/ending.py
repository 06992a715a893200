"""Ending what is left over. A stage whose sweeper only reports grants nothing of this."""

import contextlib
import json
import os

import boto3

from contract.orphans import Kind, Orphan
from contract.outcomes import Outcome
from lambdas.sweeper.looking import execution, execution_arn

_batch = boto3.client("batch")
_ecs = boto3.client("ecs")
_lambda = boto3.client("lambda")
_sagemaker = boto3.client("sagemaker")
_states = boto3.client("stepfunctions")


def end(orphan: Orphan) -> None:
    """End one. To end what has ended meanwhile is no error."""
    {
        Kind.JOB: _job,
        Kind.EXECUTION: _execution,
        Kind.RECORD: _record,
        Kind.ENDPOINT: _endpoint,
        Kind.SERVICE: _service,
    }[orphan.kind](orphan)


def _job(orphan: Orphan) -> None:
    _batch.terminate_job(jobId=orphan.name, reason="its run is over")


def _execution(orphan: Orphan) -> None:
    """The run ends as FAILED, so that it may be resumed from its checkpoints."""
    _states.stop_execution(executionArn=execution_arn(orphan.run_id), error=Outcome.FAILED, cause=orphan.why)


def _record(orphan: Orphan) -> None:
    """The finish function writes the end down, as if the event of that end had come."""
    run = execution(orphan.run_id) or {"status": "FAILED", "error": "", "cause": "its execution is gone"}
    detail = {"name": orphan.run_id, **{name: run.get(name) for name in ("status", "error", "cause", "redriveCount")}}
    event = {"detail-type": "Step Functions Execution Status Change", "detail": detail}
    _lambda.invoke(
        FunctionName=os.environ["FINISH_FUNCTION_ARN"], InvocationType="Event", Payload=json.dumps(event).encode()
    )


def _endpoint(orphan: Orphan) -> None:
    try:
        _sagemaker.delete_endpoint(EndpointName=orphan.name)
    except _sagemaker.exceptions.ClientError as error:
        if "Could not find" not in str(error):
            raise


def _service(orphan: Orphan) -> None:
    """Its tasks end. What the load balancer knows of it costs nothing, and the next deployment takes it over."""
    with contextlib.suppress(_ecs.exceptions.ServiceNotFoundException):
        _ecs.delete_service(cluster=os.environ["SERVICES_CLUSTER"], service=orphan.name, force=True)

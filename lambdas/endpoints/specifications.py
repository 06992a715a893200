"""What runs asked for."""

import os

import boto3

from contract.layout import RunLayout
from contract.run import DeploySection, ResolvedRun

_s3 = boto3.client("s3")


def read(run_id: str) -> ResolvedRun:
    """A run's `run.json`."""
    key = RunLayout(run_id=run_id).specification
    body = _s3.get_object(Bucket=os.environ["ARTIFACTS_BUCKET"], Key=key)["Body"].read()
    return ResolvedRun.model_validate_json(body)


def find(run_id: str) -> ResolvedRun | None:
    """A run's `run.json`; None when there is no such run."""
    try:
        return read(run_id)
    except _s3.exceptions.NoSuchKey:
        return None


def endpoint_of(run: ResolvedRun) -> str:
    """The endpoint that a run deploys to."""
    return run.specification.deploy.endpoint or run.experiment


def deploy_of(run_id: str, otherwise: ResolvedRun | None = None) -> DeploySection:
    """What a run said of its deployment; of a configuration that no run has made, what `otherwise` says."""
    run = find(run_id) or otherwise
    return run.specification.deploy if run else DeploySection()

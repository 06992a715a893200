"""A run file was dropped: start its run.

EventBridge delivers at least once. The execution's name is a function of the object's version, so Step
Functions itself refuses the second start, however late or often the event comes.
"""

import json
import os
from typing import Any

import boto3

from contract.layout import experiment_of, run_id_of

_states = boto3.client("stepfunctions")


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Start the execution for one "Object Created" event of the input bucket.

    Returns the run's id and whether this delivery was the one that started it.
    """
    detail = event["detail"]
    bucket, key = detail["bucket"]["name"], detail["object"]["key"]
    version_id = detail["object"]["version-id"]
    run_id = run_id_of(bucket, key, version_id)
    start = {
        "run_id": run_id,
        "experiment": experiment_of(key),
        "bucket": bucket,
        "key": key,
        "version_id": version_id,
    }
    try:
        _states.start_execution(
            stateMachineArn=os.environ["STATE_MACHINE_ARN"], name=run_id, input=json.dumps(start, sort_keys=True)
        )
    except _states.exceptions.ExecutionAlreadyExists:
        return {"run_id": run_id, "started": False}
    return {"run_id": run_id, "started": True}

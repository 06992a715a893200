"""Data were dropped: start one run for all that came together, once no more come.

Called twice for each file that counts. At once, by EventBridge: the file is noted as the newest of its experiment,
unless a newer one is, and a message is sent that waits. Then by the queue: if the file is still the newest, nothing
came while the message waited, and it starts the run. The run is named by that file's version, so whatever is delivered
again starts nothing.
"""

import json
import logging
import os
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import boto3

from contract.layout import DATA_FOLDER, RUN_FILE, experiment_of, run_files_beside, run_id_of
from contract.run import MAX_RUN_FILE_BYTES, RunFileError, RunSpecification, awaits
from lambdas.items import from_item, to_item

MARKER_SECONDS = 5
"""How long a marker waits: as long as a run file that is dropped right after it may take."""

_log = logging.getLogger(__name__)
_s3 = boto3.client("s3")
_dynamodb = boto3.client("dynamodb")
_sqs = boto3.client("sqs")
_states = boto3.client("stepfunctions")


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """One version of a data file, and the run file that it lies beside."""

    bucket: str
    key: str
    version_id: str
    at: str
    """When it was complete, ISO 8601, UTC, in whole seconds."""
    run_file: str

    @property
    def rank(self) -> str:
        """Later ones have greater ones; of those in the same second, always the same."""
        return f"{self.at} {self.key} {self.version_id}"


@dataclass(frozen=True, kw_only=True)
class RunFile:
    """The newest version of a run file."""

    version_id: str
    modified: datetime
    content: bytes


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Take note of an "Object Created" event below a folder `data/`, or look whether arrivals are still the newest.

    Returns what became of the event; of messages, those to be delivered again.
    """
    if "Records" not in event:
        return _arrived(event)
    again = []
    for record in event["Records"]:
        try:
            _waited(Arrival(**json.loads(record["body"])))
        except Exception as error:  # the others of the batch must not wait for this one
            _log.error("cannot look after this arrival yet: %r", error, extra={"arrival": record["body"]})
            again.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": again}


def _arrived(event: dict[str, Any]) -> dict[str, Any]:
    bucket, key = event["detail"]["bucket"]["name"], event["detail"]["object"]["key"]
    for run_file in run_files_beside(key):
        found = _read(bucket, run_file)
        if found is None:
            continue
        waits = _seconds_to_wait(found, key.removeprefix(run_file.rpartition("/")[0]).lstrip("/"))
        if waits is None:
            return {"noted": False, "reason": f"{run_file} does not wait for it"}
        arrival = Arrival(
            bucket=bucket,
            key=key,
            version_id=event["detail"]["object"]["version-id"],
            at=event["time"],
            run_file=run_file,
        )
        if not _note(arrival):
            return {"noted": False, "reason": "there is a newer one"}
        _sqs.send_message(QueueUrl=os.environ["QUEUE_URL"], MessageBody=json.dumps(asdict(arrival)), DelaySeconds=waits)
        return {"noted": True, "reason": f"the run starts in {waits} s unless more files come"}
    return {"noted": False, "reason": "there is no run file beside it"}


def _seconds_to_wait(run_file: RunFile, name: str) -> int | None:
    """How long after this file, by its name beside the run file, a run starts; None if it is not what starts one."""
    quiet = int(os.environ["QUIET_SECONDS"])
    try:
        data = RunSpecification.parse(run_file.content).data
    except RunFileError:
        return quiet  # the run will say what is wrong with it
    if data is None or not awaits(data, name):
        return None
    return min(quiet, MARKER_SECONDS) if data.marker else quiet


def _waited(arrival: Arrival) -> None:
    """Start the run if nothing came since."""
    if _newest(arrival) != arrival.rank:
        return
    run_file = _read(arrival.bucket, arrival.run_file)
    if run_file is None or run_file.modified >= datetime.fromisoformat(arrival.at):
        return  # it was taken away; or dropped after the data, and its own run has them
    if _later_ones(arrival, run_file):
        return  # their events are on their way
    run_id = run_id_of(arrival.bucket, arrival.key, arrival.version_id, run_file=arrival.run_file)
    start = {
        "run_id": run_id,
        "experiment": experiment_of(arrival.run_file),
        "bucket": arrival.bucket,
        "key": arrival.run_file,
        "version_id": run_file.version_id,
    }
    try:
        _states.start_execution(
            stateMachineArn=os.environ["STATE_MACHINE_ARN"], name=run_id, input=json.dumps(start, sort_keys=True)
        )
    except _states.exceptions.ExecutionAlreadyExists:
        return


def _later_ones(arrival: Arrival, run_file: RunFile) -> bool:
    """Whether files are there already whose events come after this one's, however late they are delivered.

    A file is complete at the time that S3 gives it, or later.
    """
    folder = arrival.run_file.removesuffix(RUN_FILE)
    pages = _s3.get_paginator("list_objects_v2").paginate(Bucket=arrival.bucket, Prefix=f"{folder}{DATA_FOLDER}/")
    return any(
        (found["LastModified"].replace(microsecond=0), found["Key"]) > (datetime.fromisoformat(arrival.at), arrival.key)
        and _seconds_to_wait(run_file, found["Key"].removeprefix(folder)) is not None
        for page in pages
        for found in page.get("Contents", [])
    )


def _read(bucket: str, key: str) -> RunFile | None:
    try:
        found = _s3.get_object(Bucket=bucket, Key=key)
    except _s3.exceptions.NoSuchKey:
        return None
    content = found["Body"].read(MAX_RUN_FILE_BYTES + 1)
    return RunFile(version_id=found["VersionId"], modified=found["LastModified"], content=content)


def _item(arrival: Arrival) -> dict[str, Any]:
    """The key of what is noted of an experiment. It lies in the run table, and lists of runs do not have it."""
    return to_item({"run_id": f"data#{arrival.bucket}/{arrival.run_file}"})


def _note(arrival: Arrival) -> bool:
    """Note the file as the newest; False if a newer one is noted."""
    try:
        _dynamodb.update_item(
            TableName=os.environ["RUN_TABLE"],
            Key=_item(arrival),
            UpdateExpression="SET newest = :rank",
            ConditionExpression="attribute_not_exists(newest) OR newest <= :rank",
            ExpressionAttributeValues=to_item({":rank": arrival.rank}),
        )
    except _dynamodb.exceptions.ConditionalCheckFailedException:
        return False
    return True


def _newest(arrival: Arrival) -> str:
    answer = _dynamodb.get_item(TableName=os.environ["RUN_TABLE"], Key=_item(arrival), ConsistentRead=True)
    return str(from_item(answer["Item"])["newest"]) if "Item" in answer else ""

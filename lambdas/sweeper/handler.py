"""Now and then: find what is left over of runs, tell, and end it where the stage says so.

Everything ends by itself as a rule: an aborted execution terminates its jobs, a deployment deletes its rehearsal.
This is for the rest, which would cost money until somebody looks.
"""

import logging
import os
from datetime import UTC, datetime
from typing import Any

import boto3

from contract.layout import ORPHANS_FILE
from contract.orphans import Orphan, Sweep
from lambdas.sweeper import ending, looking

_s3 = boto3.client("s3")
_sns = boto3.client("sns")
_log = logging.getLogger(__name__)


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Sweep once, at the `time` of the schedule's event or now; answers with `orphans.json`."""
    now = datetime.fromisoformat(event["time"]) if "time" in event else datetime.now(UTC)
    return sweep(now).model_dump(mode="json")


def sweep(now: datetime) -> Sweep:
    """Find, end where the stage says so, write down, and tell of what was not known before."""
    ends = os.environ["MODE"] == "end"
    known = {orphan.key for orphan in _last().orphans}
    orphans = [*looking.jobs(now), *looking.runs(now), *looking.endpoints(now), *looking.services(now)]
    failures = []
    for orphan in orphans:
        _log.warning("orphan: %s", orphan.model_dump_json())
        if ends:
            try:
                ending.end(orphan)
            except Exception as error:  # the others are ended all the same
                _log.exception("the %s %s could not be ended", orphan.kind, orphan.name)
                failures.append(f"{orphan.kind} {orphan.name}: {error}")
    found = Sweep(at=now.isoformat(timespec="seconds"), ended=ends and not failures, orphans=orphans)
    _s3.put_object(
        Bucket=os.environ["ARTIFACTS_BUCKET"],
        Key=ORPHANS_FILE,
        Body=found.model_dump_json(indent=1).encode(),
        ContentType="application/json",
    )
    new = [orphan for orphan in orphans if orphan.key not in known]
    if new:
        _tell(new, ended=found.ended)
    if failures:
        raise RuntimeError(f"{len(failures)} of {len(orphans)} could not be ended: {'; '.join(failures)}")
    return found


def _last() -> Sweep:
    try:
        body = _s3.get_object(Bucket=os.environ["ARTIFACTS_BUCKET"], Key=ORPHANS_FILE)["Body"].read()
    except _s3.exceptions.NoSuchKey:
        return Sweep(at="", ended=False, orphans=[])
    return Sweep.model_validate_json(body)


def _tell(orphans: list[Orphan], *, ended: bool) -> None:
    stage, count = os.environ["STAGE"], len(orphans)
    lines = [f"- {orphan.why}\n  {orphan.fix}" for orphan in orphans]
    _sns.publish(
        TopicArn=os.environ["TOPIC_ARN"],
        Subject=f"ORPHANS: {count} left over in {stage}",
        Message="\n".join(
            (
                f"{count} thing{'s are' if count > 1 else ' is'} left over of runs in stage {stage}"
                + (", and ended now:" if ended else ". Each costs until it is ended:"),
                "",
                *lines,
            )
        ),
        MessageAttributes={"outcome": {"DataType": "String", "StringValue": "ORPHANS"}},
    )

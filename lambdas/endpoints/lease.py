"""Who is changing an endpoint: one item of the run table, held by one run or command at a time.

A run deploys in many steps, over minutes; two at once would judge each other's policies. Whoever holds the lease keeps
its notes there between two steps. A lease that nobody renews is free again after a while.
"""

import contextlib
import os
import time
from dataclasses import dataclass, field
from typing import Any

import boto3

from lambdas.items import from_item, to_item

_dynamodb = boto3.client("dynamodb")

SECONDS = 900
"""How long a holder may be silent. The state machine comes by every ten seconds."""


@dataclass
class Lease:
    """The right to change one endpoint."""

    endpoint: str
    holder: str
    notes: dict[str, Any] = field(default_factory=dict)

    def save(self, **notes: Any) -> None:
        """Add to the notes, and hold on. Raises RuntimeError when somebody else has taken the lease."""
        self.notes.update(notes)
        if _write(self, "holder = :holder", {":holder": self.holder}) is None:
            raise RuntimeError(f"{self.holder} has lost the right to change {self.endpoint}")

    def release(self) -> None:
        """Let others change the endpoint."""
        with contextlib.suppress(_dynamodb.exceptions.ConditionalCheckFailedException):
            _dynamodb.delete_item(
                TableName=os.environ["RUN_TABLE"],
                Key=_key(self.endpoint),
                ConditionExpression="holder = :holder",
                ExpressionAttributeValues=to_item({":holder": self.holder}),
            )


def take(endpoint: str, holder: str) -> Lease | None:
    """The lease of an endpoint, with the notes that this holder has made; None while somebody else has it."""
    found = _read(endpoint)
    if found is None:
        return _write(Lease(endpoint, holder), "attribute_not_exists(holder)", {})
    if found["holder"] == holder:
        return _write(Lease(endpoint, holder, found["notes"]), "holder = :holder", {":holder": holder})
    if found["held_until"] < int(time.time()):
        before = {":holder": found["holder"], ":until": found["held_until"]}
        return _write(Lease(endpoint, holder), "holder = :holder AND held_until = :until", before)
    return None


def holding(endpoint: str) -> Lease | None:
    """The lease as it is, whoever has it."""
    found = _read(endpoint)
    return Lease(endpoint, found["holder"], found["notes"]) if found else None


def hand_over(endpoint: str, *, holder: str, to: str) -> Lease | None:
    """Give the lease of a holder who is gone to another, with its notes; None where it is not that holder's.

    A step of the old holder that is under way can neither renew nor write it any more.
    """
    values = {":holder": holder, ":to": to, ":until": int(time.time()) + SECONDS}
    try:
        answer = _dynamodb.update_item(
            TableName=os.environ["RUN_TABLE"],
            Key=_key(endpoint),
            UpdateExpression="SET holder = :to, held_until = :until",
            ConditionExpression="holder = :holder",
            ExpressionAttributeValues=to_item(values),
            ReturnValues="ALL_NEW",
        )
    except _dynamodb.exceptions.ConditionalCheckFailedException:
        return None
    return Lease(endpoint, to, from_item(answer["Attributes"])["notes"])


def _read(endpoint: str) -> dict[str, Any] | None:
    answer = _dynamodb.get_item(TableName=os.environ["RUN_TABLE"], Key=_key(endpoint), ConsistentRead=True)
    return from_item(answer["Item"]) if "Item" in answer else None


def _write(lease: Lease, condition: str, values: dict[str, Any]) -> Lease | None:
    until = int(time.time()) + SECONDS
    item: Any = {"run_id": _name(lease.endpoint), "holder": lease.holder, "held_until": until, "notes": lease.notes}
    named: Any = {"ExpressionAttributeValues": to_item(values)} if values else {}
    try:
        _dynamodb.put_item(
            TableName=os.environ["RUN_TABLE"], Item=to_item(item), ConditionExpression=condition, **named
        )
    except _dynamodb.exceptions.ConditionalCheckFailedException:
        return None
    return lease


def _key(endpoint: str) -> Any:
    return to_item({"run_id": _name(endpoint)})


def _name(endpoint: str) -> str:
    """No run has such an id: theirs have no slash."""
    return f"endpoint/{endpoint}"

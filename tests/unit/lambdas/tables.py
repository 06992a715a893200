"""The run table in this process, with a real evaluation of conditions and expressions."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from ministack.services import dynamodb

from contract.record import NEWEST_FIRST


class InProcess:
    """The DynamoDB of the embedded AWS, called without a server."""

    def __init__(self) -> None:
        self.exceptions = boto3.client("dynamodb").exceptions

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**request: Any) -> Any:
            status, _, body = getattr(dynamodb, f"_{operation}")(request)
            answer = json.loads(body or b"{}")
            if status >= 400:
                code = answer["__type"].rpartition("#")[2]
                error = {"Error": {"Code": code, "Message": answer.get("message", "")}}
                raise self.exceptions.from_code(code)(error, operation)
            return answer

        return call

    def get_paginator(self, operation: str) -> "Pages":
        """Pages of an operation."""
        return Pages(getattr(self, operation))


class Pages:
    """What a paginator is: here all lies on one page."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def paginate(self, **request: Any) -> Iterator[Any]:
        """The pages."""
        yield self._call(**request)


def run_table_of(module: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> InProcess:
    """A new run table of one test, which a function's module then works with."""
    name = f"runs-{abs(hash(request.node.nodeid))}"
    monkeypatch.setenv("RUN_TABLE", name)
    client = in_process_table(name)
    monkeypatch.setattr(module, "_dynamodb", client)
    return client


def in_process_table(name: str) -> InProcess:
    """A client of a new run table."""
    client = InProcess()
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "run_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("run_id", "kind", "submitted_at")],
        GlobalSecondaryIndexes=[
            {
                "IndexName": NEWEST_FIRST,
                "KeySchema": [
                    {"AttributeName": "kind", "KeyType": "HASH"},
                    {"AttributeName": "submitted_at", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    return client

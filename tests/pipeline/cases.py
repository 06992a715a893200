"""Requests that schemathesis makes up from the OpenAPI document, good ones and bad ones, and what it holds against the
answers: the status, the type and the shape that the document promises, never a 5xx, and nothing bad let in."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import requests
import schemathesis
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import FailureGroup

from tests.pipeline.laptop import Laptop

DOCUMENT = Path("docs/reference/openapi.json")

_NOT_HELD = (
    "ignored_auth",  # IAM is asserted on the templates: tests/infra/test_api.py
    "positive_data_acceptance",  # what no schema says: an environment that there is not, an endpoint that is off
)


@contextmanager
def nothing_starts(laptop: Laptop) -> Iterator[None]:
    """Leave dropped run files where they lie: requests that were made up would train for days."""
    events = laptop.client("events")
    (rule,) = [rule["Name"] for rule in events.list_rules()["Rules"] if "RunFileDropped" in rule["Name"]]
    events.disable_rule(Name=rule)
    try:
        yield
    finally:
        events.enable_rule(Name=rule)


@dataclass
class Cases:
    """What was asked and what came of it."""

    answers: Counter[str] = field(default_factory=Counter)
    """By operation and status, such as `GET /runs 200`."""
    failures: list[str] = field(default_factory=list)
    """Answers that are not as the document says, each with its request as a curl command."""


def ask(url: str, cases: int, *, known: dict[str, list[str]], signed: bool = True, at_random: int = 0) -> Cases:
    """Ask an API that many times, spread over all operations.

    :param known: values of path parameters that exist, so that half of the requests get beyond a 404.
    """
    load_all_checks()
    seen = Cases()
    schema: Any = schemathesis.openapi.from_path(DOCUMENT)
    operations = [found.ok() for found in schema.get_all_operations()]
    operations.sort(key=lambda operation: operation.path.endswith(("/off", "/on", "/delete")))  # the others ask it
    with requests.Session() as session:
        session.trust_env = False
        session.auth = _signed if signed else None
        for operation in operations:
            _ask(operation, url, session, seen, cases=-(-cases // len(operations)), known=known, at_random=at_random)
    return seen


def _ask(
    operation: Any,
    url: str,
    session: requests.Session,
    seen: Cases,
    *,
    cases: int,
    known: dict[str, list[str]],
    at_random: int,
) -> None:
    excluded = [CHECKS.get_one(name) for name in _NOT_HELD]

    @seed(at_random)
    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=st.one_of(_made_up(operation, known)))
    def hold(case: Any) -> None:
        response = case.call(base_url=url.rstrip("/"), session=session, timeout=60)
        seen.answers[f"{operation.label} {response.status_code}"] += 1
        try:
            case.validate_response(response, excluded_checks=excluded)
        except FailureGroup as failed:
            seen.failures.append(failed.message)

    hold()


def _signed(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Sign as the command line does."""
    caller = boto3.Session(region_name="us-east-1")
    said = {name: value for name, value in request.headers.items() if name.lower() == "content-type"}
    unsigned = AWSRequest(request.method, request.url, headers=said, data=request.body or None)
    SigV4Auth(caller.get_credentials().get_frozen_credentials(), "execute-api", caller.region_name).add_auth(unsigned)
    request.headers.update(dict(unsigned.headers))
    return request


def _made_up(operation: Any, known: dict[str, list[str]]) -> list[Any]:
    """Good and bad requests, to what there is not and to what there is."""
    found = [operation.as_strategy(mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)]
    for name, values in known.items():
        if f"{{{name}}}" in operation.path:
            given_one = ({name: value} for value in values)
            found += [operation.as_strategy(GenerationMode.POSITIVE, path_parameters=one) for one in given_one]
    return found

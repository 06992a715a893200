"""The instance answers programs of this machine, and no web pages."""

import urllib.error
import urllib.request

import pytest

from tests.conformance.embedded import Instance


def status(aws: Instance, **headers: str) -> int:
    request = urllib.request.Request(f"{aws.url}/_ministack/health", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "localhost:4566"},
        {"Host": "bucket.localhost"},
        {"Host": "s3.us-east-1.amazonaws.com"},
        {"Origin": "http://localhost:8080"},
        {"Origin": "http://127.0.0.1"},
    ],
)
def test_programs_and_pages_of_this_machine_are_answered(aws: Instance, headers: dict[str, str]) -> None:
    assert status(aws, **headers) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://example.com"},
        {"Origin": "null"},
        {"Host": "rebound.example.com"},
        {"Host": "localhost.example.com"},
    ],
)
def test_pages_of_other_sites_are_not(aws: Instance, headers: dict[str, str]) -> None:
    assert status(aws, **headers) == 403

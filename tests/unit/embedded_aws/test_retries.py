"""Retry strategies: https://docs.aws.amazon.com/batch/latest/userguide/job_retries.html"""

from typing import Any

import pytest

from embedded_aws.compute.retries import problem, retries

RECLAIMED = {"onStatusReason": "Host EC2*", "action": "RETRY"}
CONTINUE = {"onExitCode": "75", "action": "retry"}
REST = {"onReason": "*", "action": "EXIT"}


def decide(
    entries: list[dict[str, str]], *, made: int = 1, code: int | None = 1, status: str = "", reason: str = ""
) -> bool:
    strategy = {"attempts": 3, "evaluateOnExit": entries}
    return retries(strategy, attempts_made=made, exit_code=code, status_reason=status, reason=reason)


def test_the_first_entry_that_matches_decides() -> None:
    assert decide([CONTINUE, REST], code=75)
    assert not decide([CONTINUE, REST], code=1)
    assert not decide([REST, CONTINUE], code=75)


def test_a_job_is_retried_when_no_entry_matches() -> None:
    assert decide([{"onExitCode": "3", "action": "EXIT"}], code=4)
    assert decide([], code=4)


def test_all_conditions_of_an_entry_must_match() -> None:
    both = {"onExitCode": "137", "onReason": "OutOfMemory*", "action": "EXIT"}

    assert not decide([both], code=137, reason="OutOfMemoryError: Container killed due to memory usage")
    assert decide([both], code=137)


def test_an_asterisk_stands_for_any_end() -> None:
    assert decide([RECLAIMED, REST], code=None, status="Host EC2 (instance i-0123) terminated.")
    assert not decide([RECLAIMED, REST], status="The Host EC2 was fine")
    assert not decide([{"onExitCode": "13*", "action": "EXIT"}], code=137)


def test_attempts_run_out() -> None:
    assert decide([CONTINUE], made=2, code=75)
    assert not decide([CONTINUE], made=3, code=75)


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ({"attempts": 0}, "attempts must be between 1 and 10; given: 0"),
        ({"evaluateOnExit": [REST]}, "attempts must be specified"),
        ({"attempts": 2, "evaluateOnExit": [REST] * 6}, "at most 5 entries; given: 6"),
        ({"attempts": 2, "evaluateOnExit": [{"action": "AGAIN"}]}, "must be RETRY or EXIT; given: 'AGAIN'"),
        ({"attempts": 2, "evaluateOnExit": [{**REST, "onExitCode": "*5"}]}, "given: '*5'"),
    ],
)
def test_a_wrong_strategy_is_refused(strategy: dict[str, Any], message: str) -> None:
    assert message in (problem(strategy) or "")

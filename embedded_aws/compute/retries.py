"""Retry strategies of Batch jobs: which attempt is followed by another.

https://docs.aws.amazon.com/batch/latest/userguide/job_retries.html
"""

import re
from typing import Any

_CONDITIONS = {"onExitCode": "exit_code", "onStatusReason": "status_reason", "onReason": "reason"}


def retries(
    strategy: dict[str, Any], *, attempts_made: int, exit_code: int | None, status_reason: str, reason: str
) -> bool:
    """Whether an attempt that failed is followed by another one.

    The first `evaluateOnExit` entry of which all conditions match decides; when none matches the job is retried.
    """
    if attempts_made >= int(strategy.get("attempts", 1)):
        return False
    observed = {
        "exit_code": "" if exit_code is None else str(exit_code),
        "status_reason": status_reason,
        "reason": reason,
    }
    for entry in strategy.get("evaluateOnExit", []):
        if all(_matches(entry[key], observed[value]) for key, value in _CONDITIONS.items() if entry.get(key)):
            return str(entry["action"]).upper() == "RETRY"
    return True


def problem(strategy: dict[str, Any]) -> str | None:
    """What Batch would refuse about a retry strategy, if anything."""
    attempts = int(strategy.get("attempts", 1))
    if not 1 <= attempts <= 10:
        return f"retryStrategy.attempts must be between 1 and 10; given: {attempts}"
    entries = strategy.get("evaluateOnExit", [])
    if entries and "attempts" not in strategy:
        return "retryStrategy.attempts must be specified when evaluateOnExit is"
    if len(entries) > 5:
        return f"retryStrategy.evaluateOnExit can have at most 5 entries; given: {len(entries)}"
    for entry in entries:
        if str(entry.get("action", "")).upper() not in ("RETRY", "EXIT"):
            return f"retryStrategy.evaluateOnExit.action must be RETRY or EXIT; given: {entry.get('action')!r}"
        exit_code = entry.get("onExitCode", "")
        if not re.fullmatch(r"[0-9]*\*?", exit_code):
            return f"retryStrategy.evaluateOnExit.onExitCode must be digits and an * at the end; given: {exit_code!r}"
    return None


def _matches(pattern: str, value: str) -> bool:
    """Batch's patterns may end in an asterisk; it stands for nothing special anywhere else."""
    if pattern.endswith("*"):
        return value.lower().startswith(pattern[:-1].lower())
    return value.lower() == pattern.lower()

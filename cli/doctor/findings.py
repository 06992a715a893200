"""What the doctor finds, and in which words."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    NOTE = "note"
    """Good to know."""
    WARNING = "warning"
    """A run goes on, but slower, dearer or with less in reserve."""
    UNKNOWN = "unknown"
    """It could not be looked at."""
    STOPS = "stops"
    """A run would be stopped by it, or never start."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    check: str
    """What was looked at, in one or two words."""
    level: Level
    what: str
    """One sentence without a full stop."""
    why: str = ""
    """Why it matters, when it is not OK."""
    fix: str = ""
    """A command that mends it, or what to do where no command does."""


def good(check: str, what: str) -> Finding:
    """A finding that all is well."""
    return Finding(check=check, level=Level.OK, what=what)


def stops_a_run(findings: Iterable[Finding]) -> bool:
    """Whether any of them would stop a run."""
    return any(finding.level is Level.STOPS for finding in findings)


Findings = Iterator[Finding]

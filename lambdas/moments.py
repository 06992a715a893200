"""Moments as records keep them: ISO 8601 in UTC, in one form, so that they sort as text."""

from datetime import UTC, datetime


def written(moment: datetime) -> str:
    """A moment in UTC as text, to the millisecond."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now() -> str:
    """This moment."""
    return written(datetime.now(UTC))


def seconds_since(moment: str) -> float:
    """How long ago a moment was."""
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()

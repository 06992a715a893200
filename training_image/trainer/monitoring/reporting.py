"""Who is told what happens: a log that machines read, lines for a pipe, or a progress bar for a person."""

import sys
import time
from typing import Protocol, TextIO

from contract.events import Event, Progress, encode


class Reporter(Protocol):
    """Takes events and plain sentences."""

    def report(self, event: Event) -> None:
        """Something happened."""
        ...

    def log(self, text: str) -> None:
        """Something worth reading, such as a warning."""
        ...

    def close(self) -> None:
        """Nothing more will come."""
        ...


class EventReporter:
    """One JSON document a line on stdout, as `contract.events` says; what a container prints."""

    def report(self, event: Event) -> None:
        self.log(encode(event))

    def log(self, text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def close(self) -> None:
        sys.stdout.flush()


class LineReporter:
    """Plain lines, at most one of progress a second."""

    SECONDS = 1.0

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = 0.0

    def report(self, event: Event) -> None:
        if event["event"] == "progress":
            now = time.monotonic()
            if now - self._last >= self.SECONDS or event["timesteps"] >= event["total_timesteps"]:
                self._last = now
                self.log(describe_progress(event))
        elif text := describe(event):
            self.log(text)

    def log(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()

    def close(self) -> None:
        self._stream.flush()


def describe(event: Event) -> str | None:
    """An event in words; None for one that says nothing new to a person."""
    if event["event"] == "started":
        resumed = f", continuing at step {event['timesteps']:,}" if event["timesteps"] else ""
        return f"seed {event['seed']}: training for {event['total_timesteps']:,} steps{resumed}"
    if event["event"] == "checkpoint":
        return f"seed {event['seed']}: checkpoint at step {event['timesteps']:,}"
    if event["event"] == "ended":
        return event["reason"]
    return None


def describe_progress(progress: Progress) -> str:
    """Progress on one line."""
    percent = min(100.0, 100 * progress["timesteps"] / progress["total_timesteps"])
    parts = [
        f"{percent:3.0f}%",
        f"{progress['timesteps']:,} of {progress['total_timesteps']:,} steps",
        f"{progress['steps_per_second']:,.0f} steps/s",
    ]
    if "mean_return" in progress:
        parts.append(f"mean return {progress['mean_return']:.1f}")
    parts.append(f"{progress['seconds_left']:.0f} s left")
    return "  ".join(parts)

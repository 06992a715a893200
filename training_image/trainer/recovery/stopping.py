"""What ends a training before its last step: a signal, or a limit. Both leave a checkpoint."""

import os
import signal
import time
from dataclasses import dataclass
from types import FrameType

from contract.outcomes import ExitCode
from contract.run import LimitsSection

PRICE_VARIABLE = "RLPIPE_PRICE_PER_HOUR"
"""Environment variable with the price of the instance, in US dollars an hour."""


def price_per_hour() -> float:
    """What the instance costs, in US dollars an hour; 0 where nobody said."""
    return float(os.environ.get(PRICE_VARIABLE) or 0)


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Why a training stops early, and the exit code that says so."""

    exit_code: ExitCode
    reason: str


class Signals:
    """Remembers SIGTERM (a reclaimed Spot instance, a pause, a stop) and SIGINT until training can stop cleanly.

    A second signal of the same kind takes effect at once.
    """

    def __init__(self) -> None:
        self._received: signal.Signals | None = None

    def install(self) -> None:
        """Take over the process's handling of both signals."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._remember)

    def stop(self) -> Stop | None:
        """Why to stop, once a signal has come."""
        if self._received is None:
            return None
        return Stop(exit_code=ExitCode.CHECKPOINTED, reason=f"{self._received.name} received")

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        self._received = signal.Signals(number)
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)


class Limits:
    """Time and cost of a training, over all its attempts."""

    def __init__(self, limits: LimitsSection, *, seconds_before: float) -> None:
        """`seconds_before` is what earlier attempts used."""
        self._before = seconds_before
        self._started = time.monotonic()
        self._max_hours = limits.max_hours
        self._max_cost = limits.max_cost_usd
        self._price = price_per_hour()
        hours = [self._max_hours]
        if self._max_cost is not None and self._price:
            hours.append(self._max_cost / self._price)
        self._ends = self._started + 3600 * min(hours) - seconds_before

    @property
    def seconds(self) -> float:
        """Seconds of training so far, over all attempts."""
        return self._before + time.monotonic() - self._started

    @property
    def cost(self) -> float:
        """US dollars of training so far."""
        return self.seconds / 3600 * self._price

    @property
    def cost_share(self) -> float | None:
        """How much of the cost limit is used; None without one."""
        return None if self._max_cost is None else self.cost / self._max_cost

    def stop(self) -> Stop | None:
        """Why to stop, once a limit is reached."""
        if time.monotonic() < self._ends:  # asked at every step
            return None
        hours = self.seconds / 3600
        if hours >= self._max_hours:
            reason = f"limits.max_hours reached: {hours:.4g} of {self._max_hours:g} hours"
        elif self._max_cost is not None and hours * self._price >= self._max_cost:
            reason = f"limits.max_cost_usd reached: {hours * self._price:.4g} of {self._max_cost:g} dollars"
        else:
            return None
        return Stop(exit_code=ExitCode.LIMIT, reason=reason)

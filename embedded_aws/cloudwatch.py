"""CloudWatch alarms as they are evaluated on AWS: by dimensions, over periods, and by what missing data means.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
"""

import operator
import threading
import time
from collections.abc import Callable
from typing import Any

from embedded_aws import hooks

_MODULE = "services.cloudwatch"
_SECONDS = 1.0
"""Alarms are looked at this often, and whenever somebody publishes a metric: data gets old without anybody's doing."""

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
_Alarm = dict[str, Any]


def install() -> None:
    """Evaluate alarms by this module instead of by ministack's, which knows neither dimensions nor missing data."""
    hooks.replace(_MODULE, "_evaluate_alarm", evaluate)
    threading.Thread(target=_evaluate_for_ever, name="alarms", daemon=True).start()


def evaluate(alarm: _Alarm) -> None:
    """Bring an alarm into the state that its metric says now, and tell whoever listens when that is another one."""
    if not alarm.get("Namespace") or alarm.get("ComparisonOperator") not in _COMPARISONS:
        return
    found = _state_of(alarm, _values(alarm, time.time()))
    if found is None:
        return
    state, reason = found
    before = alarm["StateValue"]
    if state == before:
        return
    alarm.update(StateValue=state, StateReason=reason, StateUpdatedTimestamp=int(time.time()))
    hooks.private(_MODULE, "_record_history")(alarm["AlarmName"], before, state, reason)
    hooks.private(_MODULE, "_dispatch_alarm_actions")(alarm, before, state, reason)
    hooks.private(_MODULE, "_evaluate_parent_alarms")(alarm)


def alarm_state(name: str) -> str | None:
    """What a metric alarm's state is; None when there is no such alarm."""
    alarm = hooks.private(_MODULE, "_alarms").get(name)
    return None if alarm is None else str(alarm["StateValue"])


def _values(alarm: _Alarm, now: float) -> list[float | None]:
    """The metric's statistic in each of the last periods, newest first; None where there were no data."""
    dimensions = {item["Name"]: item["Value"] for item in alarm.get("Dimensions") or []}
    key = (alarm["Namespace"], alarm["MetricName"], hooks.private(_MODULE, "_dims_key")(dimensions))
    points = list(hooks.private(_MODULE, "_metrics").get(key) or [])
    period, count = alarm.get("Period", 60), alarm.get("EvaluationPeriods", 1)
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic", "Average")
    values: list[float | None] = []
    for number in range(count):
        start, end = now - (number + 1) * period, now - number * period
        within = [point for point in points if start < point["Timestamp"] <= end]
        statistics = hooks.private(_MODULE, "_calc_stats")(within)
        values.append(hooks.private(_MODULE, "_stat_value")(statistics, statistic, within) if statistics else None)
    return values


def _state_of(alarm: _Alarm, values: list[float | None]) -> tuple[str, str] | None:
    """State and reason; None when the alarm stays as it is."""
    compare, threshold = _COMPARISONS[alarm["ComparisonOperator"]], alarm.get("Threshold", 0.0)
    missing = alarm.get("TreatMissingData") or "missing"
    known = [value for value in values if value is not None]
    if not known and missing == "ignore":
        return None
    if not known and missing == "missing":
        return "INSUFFICIENT_DATA", "Insufficient Data: no data points were received"
    breaching = [value for value in known if compare(value, threshold)]
    counted = len(breaching) + (len(values) - len(known) if missing == "breaching" else 0)
    needed = alarm.get("DatapointsToAlarm") or len(values)
    if missing in ("missing", "ignore"):
        # What is missing is left out of the evaluation.
        needed = min(needed, len(known))
    said = f"{counted} of the last {len(values)} datapoints [{', '.join(f'{value:g}' for value in known)}]"
    if counted >= needed:
        return "ALARM", f"Threshold Crossed: {said} breached the threshold ({threshold:g})."
    return "OK", f"Threshold not crossed: {said} breached the threshold ({threshold:g})."


def _evaluate_for_ever() -> None:
    evaluate_all = hooks.private(_MODULE, "_evaluate_all_alarms")
    while True:
        time.sleep(_SECONDS)
        evaluate_all()

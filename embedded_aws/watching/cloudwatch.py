"""CloudWatch alarms as they are evaluated on AWS: by dimensions, over periods, and by what missing data means.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html

An alarm on a query that groups has a state for each of its time series, its contributors, and each calls the alarm's
actions by itself: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-actions.html
"""

import hashlib
import json
import operator
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from embedded_aws import delivery, hooks
from embedded_aws.access import permissions
from embedded_aws.settings import ACCOUNT, REGION
from embedded_aws.watching import metric_math
from embedded_aws.watching.metrics_insights import Query, parse

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

_ringing: dict[str, set[tuple[str, ...]]] = {}
"""The contributors of each alarm on a query that groups which are in ALARM, by the alarm's name."""
_evaluating = threading.RLock()
"""Alarms are evaluated by whoever publishes a metric, and by the thread that looks at all of them."""


def install() -> None:
    """Evaluate alarms by this module instead of by ministack's, which knows neither dimensions nor missing data."""
    hooks.replace(_MODULE, "_evaluate_alarm", evaluate)
    hooks.keep_metric_queries()
    threading.Thread(target=_evaluate_for_ever, name="alarms", daemon=True).start()


def evaluate(alarm: _Alarm) -> None:
    """Bring an alarm into the state that its metric says now, and tell whoever listens when that is another one."""
    if alarm.get("ComparisonOperator") not in _COMPARISONS:
        return
    with _evaluating:
        if expressions := [it["Expression"] for it in alarm.get("Metrics") or [] if it.get("Expression")]:
            query = parse(expressions[0]) if len(expressions) == len(alarm["Metrics"]) == 1 else None
            if query is not None:
                _evaluate_query(alarm, query)
            elif metric_math.is_known(alarm["Metrics"]):
                _enter(alarm, _state_of(alarm, _calculated(alarm)))
        elif alarm.get("Namespace"):
            _enter(alarm, _state_of(alarm, _values(alarm, _points_of(alarm), _statistic(alarm))))


def _enter(alarm: _Alarm, found: tuple[str, str] | None, *, acts: bool = True) -> None:
    """Enter a state, if it is another one; `acts` is False for alarms whose contributors act."""
    state, reason = found or (alarm["StateValue"], "")
    before = alarm["StateValue"]
    if state == before:
        return
    alarm.update(StateValue=state, StateReason=reason, StateUpdatedTimestamp=int(time.time()))
    hooks.private(_MODULE, "_record_history")(alarm["AlarmName"], before, state, reason)
    if acts:
        hooks.private(_MODULE, "_dispatch_alarm_actions")(alarm, before, state, reason)
        _call_functions(alarm, {"state": _now(state, reason), "previousState": {"value": before}})
    hooks.private(_MODULE, "_evaluate_parent_alarms")(alarm)


def _evaluate_query(alarm: _Alarm, query: Query) -> None:
    stored = list(hooks.private(_MODULE, "_metrics").items())
    metrics = ((key[0], key[1], points[0]["Dimensions"], points) for key, points in stored if points)
    found = {group: _values(alarm, points, query.statistic) for group, points in query.select(metrics).items()}
    # A time series is there as long as it has data.
    found = {group: values for group, values in found.items() if any(value is not None for value in values)}
    before = _ringing.get(alarm["AlarmName"], set())
    unchanged = {group: ("ALARM" if group in before else "OK", "") for group in found}
    states = {group: _state_of(alarm, values) or unchanged[group] for group, values in found.items()}
    ringing = {group for group, (state, _) in states.items() if state == "ALARM"}
    if query.group_by:
        _ringing[alarm["AlarmName"]] = ringing
        for group in before ^ ringing:
            state, reason = states.get(group, ("OK", "The time series has no data any more."))
            attributes = dict(zip(query.group_by, group, strict=True))
            contributor = {"id": hashlib.sha256(repr(group).encode()).hexdigest()[:16], "attributes": attributes}
            _call_functions(alarm, {"alarmContributor": contributor, "state": _now(state, reason)})
    if states:
        said = f"{len(ringing)} out of {len(states)} time series evaluated to ALARM"
        _enter(alarm, ("ALARM" if ringing else "OK", said), acts=not query.group_by)
    else:
        _enter(alarm, _state_of(alarm, [None] * alarm.get("EvaluationPeriods", 1)), acts=not query.group_by)


def _call_functions(alarm: _Alarm, data: Mapping[str, Any]) -> None:
    """Call the functions among the alarm's actions for its new state.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-actions-Lambda.html
    """
    actions = {"ALARM": "AlarmActions", "OK": "OKActions", "INSUFFICIENT_DATA": "InsufficientDataActions"}
    if not alarm.get("ActionsEnabled", True):
        return
    configuration = {"description": alarm.get("AlarmDescription", ""), "metrics": _described(alarm)}
    event = {
        "source": "aws.cloudwatch",
        "alarmArn": alarm["AlarmArn"],
        "accountId": ACCOUNT,
        "time": data["state"]["timestamp"],
        "region": REGION,
        "alarmData": {"alarmName": alarm["AlarmName"], **data, "configuration": configuration},
    }
    for action in alarm.get(actions[data["state"]["value"]]) or []:
        if action.startswith("arn:aws:lambda:"):
            delivery.call_function(action, json.dumps(event), partial(_check, alarm["AlarmArn"], action))


def _check(alarm: str, function: str, policy: Any) -> None:
    """Raise DeniedError unless the function's policy lets the alarm call it."""
    permissions.check_service(
        "lambda.alarms.cloudwatch.amazonaws.com", "lambda:InvokeFunction", function, policy, alarm
    )


def _described(alarm: _Alarm) -> list[dict[str, Any]]:
    """What an alarm watches, as events say it."""
    if not alarm.get("Metrics"):
        return [{"id": "m1", "metricStat": _metric_stat(alarm), "returnData": True}]
    return [
        {"id": it["Id"], "returnData": it.get("ReturnData", True)}
        | ({"expression": it["Expression"]} if it.get("Expression") else {"metricStat": _metric_stat(_watching(it))})
        for it in alarm["Metrics"]
    ]


def _metric_stat(alarm: _Alarm) -> dict[str, Any]:
    dimensions = {item["Name"]: item["Value"] for item in alarm.get("Dimensions") or []}
    metric = {"namespace": alarm["Namespace"], "name": alarm["MetricName"], "dimensions": dimensions}
    return {"metric": metric, "period": alarm.get("Period", 60), "stat": _statistic(alarm)}


def _watching(query: dict[str, Any]) -> _Alarm:
    """What an alarm on the one metric of a query would say of it."""
    stat = query["MetricStat"]
    return {**stat["Metric"], "Period": stat["Period"], "Statistic": stat["Stat"]}


def _now(state: str, reason: str) -> dict[str, str]:
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"
    return {"value": state, "reason": reason, "timestamp": at}


def alarm_state(name: str) -> str | None:
    """What a metric alarm's state is; None when there is no such alarm."""
    alarm = hooks.private(_MODULE, "_alarms").get(name)
    return None if alarm is None else str(alarm["StateValue"])


def _calculated(alarm: _Alarm) -> list[float | None]:
    """What an expression over metrics gives in each of the last periods, newest first."""
    periods = range(alarm.get("EvaluationPeriods", 1))
    values: dict[str, list[float | None]] = {}
    for query in alarm["Metrics"]:
        if query.get("MetricStat"):
            watched = {**_watching(query), "EvaluationPeriods": len(periods)}
            values[query["Id"]] = _values(watched, _points_of(watched), _statistic(watched))
    [expression] = [query["Expression"] for query in alarm["Metrics"] if query.get("Expression")]
    return [
        metric_math.calculate(expression, {name: found[number] for name, found in values.items()}) for number in periods
    ]


def _statistic(alarm: _Alarm) -> str:
    return str(alarm.get("ExtendedStatistic") or alarm.get("Statistic", "Average"))


def _points_of(alarm: _Alarm) -> list[dict[str, Any]]:
    """What was published of the metric with these dimensions."""
    dimensions = {item["Name"]: item["Value"] for item in alarm.get("Dimensions") or []}
    key = (alarm["Namespace"], alarm["MetricName"], hooks.private(_MODULE, "_dims_key")(dimensions))
    return list(hooks.private(_MODULE, "_metrics").get(key) or [])


def _values(alarm: _Alarm, points: list[dict[str, Any]], statistic: str) -> list[float | None]:
    """The statistic in each of the last periods, newest first; None where there were no data."""
    now = time.time()
    queries = alarm.get("Metrics") or []
    period = queries[0].get("Period") or 60 if queries else alarm.get("Period", 60)
    values: list[float | None] = []
    for number in range(alarm.get("EvaluationPeriods", 1)):
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
    told: dict[str, int] = {}
    while True:
        time.sleep(_SECONDS)
        told = _publish_queues(told)
        evaluate_all()


def _publish_queues(told: dict[str, int]) -> dict[str, int]:
    """Publish how many messages the queues have, while they have any and once more; returns what was told.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
    """
    waiting = hooks.messages_in_queues()
    for name, count in waiting.items():
        if count or told.get(name):
            hooks.put_metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", count, "Count", {"QueueName": name})
    return waiting

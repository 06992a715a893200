"""What watches a stage, and whom it tells."""

import json
from typing import Any

import pytest

from contract.alarms import OF_A_STAGE, OF_RUNS, alarm_name, alarm_of
from contract.metrics import METRICS, NAMESPACE
from embedded_aws.watching.metrics_insights import parse
from lambdas.endpoints.hosting import VARIANT
from tests.infra.conftest import Properties, Stage


def alarms(stage: Stage) -> dict[str, Properties]:
    """The alarms of a stage by their names."""
    return {it["AlarmName"]: it for it in stage.resources("AWS::CloudWatch::Alarm").values()}


def test_each_alarm_of_the_table_is_there_and_no_other(stage: Stage) -> None:
    found = alarms(stage)
    assert {alarm_of(name) for name in found} == {*OF_RUNS, *OF_A_STAGE}
    for alarm in (*OF_RUNS, *OF_A_STAGE):
        if alarm.name != "DeadLetters":
            assert alarm_name(stage.settings.stage, alarm) in found


def test_an_alarm_says_what_happened_and_what_to_do(stage: Stage) -> None:
    for name, it in alarms(stage).items():
        alarm = alarm_of(name)
        assert alarm is not None
        assert len(it["AlarmDescription"]) <= 1024  # CloudWatch's limit
        for part in (alarm.meaning, alarm.advice, "rlpipe "):
            assert part in it["AlarmDescription"]


def test_an_alarm_over_runs_watches_each_run_of_its_stage_and_no_other(stage: Stage) -> None:
    for alarm in OF_RUNS:
        it = alarms(stage)[alarm_name(stage.settings.stage, alarm)]
        [metric] = it["Metrics"]
        query = parse(metric["Expression"])
        assert query is not None
        assert alarm.metric is not None
        assert (query.namespace, query.metric) == (NAMESPACE, alarm.metric.name)
        assert query.dimensions == set(alarm.metric.dimensions)
        assert query.where == (("Stage", True, stage.settings.stage),)
        assert query.group_by == ("Experiment", "Run")
        # Without an order the time series would not have states of their own.
        assert f"ORDER BY {alarm.statistic}() DESC" in metric["Expression"]


def test_an_alarm_on_one_metric_names_one_that_is_published(stage: Stage) -> None:
    ours = {metric.name: metric for metric in METRICS}
    for it in alarms(stage).values():
        if it.get("Namespace") == NAMESPACE:
            dimensions = {item["Name"]: item["Value"] for item in it["Dimensions"]}
            assert set(dimensions) == set(ours[it["MetricName"]].dimensions)
            assert dimensions["Stage"] == stage.settings.stage


def test_silence_is_not_an_alarm(stage: Stage) -> None:
    assert {it["TreatMissingData"] for it in alarms(stage).values()} == {"notBreaching"}


def test_every_queue_of_dead_letters_has_an_alarm(stage: Stage) -> None:
    queues = {name for name in stage.resources("AWS::SQS::Queue") if "DeadLetters" in name}
    watched = [it for it in alarms(stage).values() if it.get("Namespace") == "AWS/SQS"]
    assert {it["Dimensions"][0]["Value"]["Fn::GetAtt"][0] for it in watched} == queues
    assert len(queues) >= 4


def test_alarms_call_the_function_that_tells_unless_the_run_tells_itself(stage: Stage) -> None:
    for name, it in alarms(stage).items():
        alarm = alarm_of(name)
        assert alarm is not None
        actions = json.dumps(it["AlarmActions"])
        assert ("Alert" in actions) == alarm.tells, name
        assert len(it["AlarmActions"]) == alarm.tells
    silent = {alarm.name for alarm in OF_A_STAGE if not alarm.tells}
    assert silent == {"RunFailed", "RunTimedOut"}, "of the ends of runs the finish function tells"


def test_cloudwatch_may_call_that_function_for_alarms_of_this_project_only(stage: Stage) -> None:
    [permission] = [
        it
        for it in stage.resources("AWS::Lambda::Permission", "alerts").values()
        if it["Principal"] == "lambda.alarms.cloudwatch.amazonaws.com"
    ]
    assert json.dumps(permission["SourceArn"]).count(":alarm:rlpipe-*") == 1


@pytest.mark.parametrize(
    ("rule", "detail_type", "status"),
    [("QueueBlocked", "Batch Job Queue Blocked", None), ("JobFailed", "Batch Job State Change", ["FAILED"])],
)
def test_what_batch_says_of_our_queues_is_told(
    stage: Stage, rule: str, detail_type: str, status: list[str] | None
) -> None:
    it = stage.one("AWS::Events::Rule", rule)
    assert it["EventPattern"]["detail-type"] == [detail_type]
    assert len(it["EventPattern"]["detail"]["jobQueue"]) == 4
    assert it["EventPattern"]["detail"].get("status") == status
    assert "Alert" in json.dumps(it["Targets"][0]["Arn"])


def test_thresholds_are_the_settings(walled_in: Stage) -> None:
    found = alarms(walled_in)

    def of(name: str) -> tuple[Any, ...]:
        it = found[f"rlpipe-dev-{name}"]
        return it["Threshold"], it["EvaluationPeriods"], it["DatapointsToAlarm"]

    assert of("ReturnDrop") == (0.25, 4, 3)  # one minute of them may have no value
    assert of("EntropyCollapse") == (0, 4, 3)
    assert of("CheckpointOverdue") == (120, 1, 1)
    assert of("NoProgress") == (240, 1, 1)
    assert of("BudgetUsed") == (50, 1, 1)
    assert of("LossNotFinite") == (0, 1, 1)


def dashboard(stage: Stage, name: str) -> tuple[dict[str, Any], str]:
    """The body of a dashboard, with placeholders for what only AWS knows, and its text."""
    it = stage.one("AWS::CloudWatch::Dashboard", name)
    assert it["DashboardName"] == f"rlpipe-{stage.settings.stage}-{name.lower()}"
    body = it["DashboardBody"]
    text = body if isinstance(body, str) else "".join(p if isinstance(p, str) else "?" for p in body["Fn::Join"][1])
    return json.loads(text), text


@pytest.mark.parametrize("name", ["Fleet", "Endpoint"])
def test_charts_of_a_dashboard_fill_its_rows_and_lie_beside_each_other(stage: Stage, name: str) -> None:
    body, _ = dashboard(stage, name)
    taken = [
        (column, row)
        for it in body["widgets"]
        for column in range(it["x"], it["x"] + it["width"])
        for row in range(it["y"], it["y"] + it["height"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(column for column, _ in taken) == 23
    titles = [it["properties"].get("title") for it in body["widgets"] if it["type"] == "metric"]
    assert all(titles)
    assert len(set(titles)) == len(titles)


def test_each_metric_is_in_a_dashboard_by_its_dimensions(stage: Stage) -> None:
    drawn = dashboard(stage, "Fleet")[1] + dashboard(stage, "Endpoint")[1]
    for metric in METRICS:
        searched = f'{{{",".join((NAMESPACE, *metric.dimensions))}}} MetricName=\\\\"{metric.name}\\\\"'
        assert searched.replace("\\\\", "\\") in drawn or f'["{NAMESPACE}","{metric.name}"' in drawn, metric.name


def test_the_fleet_shows_its_own_stage_and_every_alarm_of_it(stage: Stage) -> None:
    body, text = dashboard(stage, "Fleet")
    [shown] = [it["properties"]["alarms"] for it in body["widgets"] if it["type"] == "alarm"]
    assert {arn.rpartition(":")[2] for arn in shown} == set(alarms(stage))
    others = {"local", "dev", "prod"} - {stage.settings.stage}
    assert not any(f'Stage=\\"{other}' in text or f'"Stage","{other}"' in text for other in others)


def test_the_reader_chooses_the_endpoint(stage: Stage) -> None:
    body, text = dashboard(stage, "Endpoint")
    [variable] = body["variables"]
    assert (variable["type"], variable["populateFrom"]) == ("pattern", "EndpointName")
    graphs = [it for it in body["widgets"] if it["type"] == "metric"]
    for graph in graphs:
        assert variable["pattern"] in json.dumps(graph), graph["properties"]["title"]
    assert f'"VariantName","{VARIANT}"' in text

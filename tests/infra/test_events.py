import pytest

from tests.infra.conftest import Properties, Stage


@pytest.fixture
def drop_rule(stage: Stage) -> Properties:
    return stage.one("AWS::Events::Rule", "RunFileDropped")


def test_a_run_file_anywhere_in_the_input_bucket_starts_a_run(stage: Stage, drop_rule: Properties) -> None:
    pattern = drop_rule["EventPattern"]
    assert pattern["source"] == ["aws.s3"]
    assert pattern["detail-type"] == ["Object Created"]
    [bucket] = pattern["detail"]["bucket"]["name"]
    output = stage.templates["storage"]["Outputs"][bucket["Fn::GetStackOutput"]["OutputName"]]
    assert output["Value"]["Ref"].startswith("Input")


@pytest.mark.parametrize(
    ("key", "starts"),
    [
        ("run.yaml", True),
        ("cartpole/run.yaml", True),
        ("team/cartpole/run.yaml", True),
        ("cartpole/overrun.yaml", False),
        ("cartpole/run.yaml.error.txt", False),
        ("cartpole/run.yaml/data.csv", False),
        ("cartpole/data/part.parquet", False),
    ],
)
def test_only_a_file_called_run_yaml_starts_a_run(drop_rule: Properties, key: str, starts: bool) -> None:
    patterns = drop_rule["EventPattern"]["detail"]["object"]["key"]
    matches = [key == p if isinstance(p, str) else key.endswith(p["suffix"]) for p in patterns]
    assert any(matches) == starts


def test_only_what_lies_below_a_folder_data_is_looked_at_as_data(stage: Stage) -> None:
    pattern = stage.one("AWS::Events::Rule", "DataDropped")["EventPattern"]
    assert pattern["detail"]["object"]["key"] == [{"prefix": "data/"}, {"wildcard": "*/data/*"}]
    assert (
        pattern["detail"]["bucket"]
        == stage.one("AWS::Events::Rule", "RunFileDropped")["EventPattern"]["detail"]["bucket"]
    )


def test_data_wait_as_long_as_the_settings_say_and_are_never_lost(stage: Stage) -> None:
    variables = stage.one("AWS::Lambda::Function", "DataArrived")["Environment"]["Variables"]
    assert variables["QUIET_SECONDS"] == {"local": "5"}.get(stage.settings.stage, "60")
    queue = stage.one("AWS::SQS::Queue", "WaitingData")
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 5
    assert queue["VisibilityTimeout"] == 180
    [mapping] = stage.resources("AWS::Lambda::EventSourceMapping").values()
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_an_execution_ended_from_outside_is_finished(stage: Stage) -> None:
    rule = stage.one("AWS::Events::Rule", "ExecutionEndedFromOutside")
    assert rule["EventPattern"]["detail-type"] == ["Step Functions Execution Status Change"]
    assert rule["EventPattern"]["detail"]["status"] == ["ABORTED", "FAILED", "TIMED_OUT"]
    [target] = rule["Targets"]
    output = stage.templates["pipeline"]["Outputs"][target["Arn"]["Fn::GetStackOutput"]["OutputName"]]
    assert output["Value"]["Fn::GetAtt"][0].startswith("Finish")


def test_what_cannot_be_delivered_or_handled_is_kept(stage: Stage) -> None:
    for rule in stage.resources("AWS::Events::Rule").values():
        for target in rule["Targets"]:
            assert "DeadLetterConfig" in target
            assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 21600, "MaximumRetryAttempts": 10}
    for schedule in stage.resources("AWS::Scheduler::Schedule").values():  # which tries again for a day
        assert "DeadLetterConfig" in schedule["Target"]
    # EventBridge calls them asynchronously.
    for name in ("Trigger", "DataArrived", "Sweeper", "Endpoints", "Finish", "Alert"):
        assert "DeadLetterConfig" in stage.one("AWS::Lambda::Function", name)
    assert {q["MessageRetentionPeriod"] for q in stage.resources("AWS::SQS::Queue").values()} == {14 * 24 * 3600}


def test_eventbridge_may_call_each_target(stage: Stage) -> None:
    permissions = [
        permission
        for permission in stage.resources("AWS::Lambda::Permission").values()
        if permission["Principal"] == "events.amazonaws.com"
    ]
    rules = {permission["SourceArn"]["Fn::GetAtt"][0] for permission in permissions}
    assert rules == set(stage.resources("AWS::Events::Rule"))


def test_each_rule_may_leave_in_a_queue_what_it_could_not_deliver(stage: Stage) -> None:
    allowed = {
        (statement["Resource"]["Fn::GetAtt"][0], statement["Condition"]["ArnEquals"]["aws:SourceArn"]["Fn::GetAtt"][0])
        for policy in stage.resources("AWS::SQS::QueuePolicy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    }
    needed = {
        (target["DeadLetterConfig"]["Arn"]["Fn::GetAtt"][0], name)
        for name, rule in stage.resources("AWS::Events::Rule").items()
        for target in rule["Targets"]
    }
    assert allowed == needed

"""EventBridge: patterns, targets, what happens when a target fails."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.account import Account, unique

EVENT: dict[str, Any] = {
    "id": "7bf73129-1428-4cd3-a780-95db273d1602",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "account": "123456789012",
    "time": "2026-01-01T00:00:00Z",
    "region": "us-east-1",
    "resources": ["arn:aws:s3:::input"],
    "detail": {
        "bucket": {"name": "input"},
        "object": {"key": "walker/run.yaml", "size": 41},
        "status": "FAILED",
        "tags": ["one", "two"],
        "nothing": None,
    },
}


@pytest.mark.page("eventbridge/latest/userguide/eb-create-pattern-operators.html")
@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ({"source": ["aws.s3", "aws.batch"]}, True),
        ({"source": ["aws.batch"]}, False),
        ({"source": ["aws.s3"], "detail-type": ["Object Deleted"]}, False),
        ({"detail": {"object": {"key": ["run.yaml", {"suffix": "/run.yaml"}]}}}, True),
        ({"detail": {"object": {"key": ["run.yaml", {"suffix": "/other.yaml"}]}}}, False),
        ({"detail": {"object": {"key": [{"prefix": "walker/"}]}}}, True),
        ({"detail": {"object": {"key": [{"wildcard": "*/run.*"}]}}}, True),
        ({"detail": {"object": {"key": [{"equals-ignore-case": "WALKER/run.yaml"}]}}}, True),
        ({"detail": {"object": {"size": [{"numeric": [">", 40, "<=", 41]}]}}}, True),
        ({"detail": {"object": {"size": ["41"]}}}, False),
        ({"detail": {"status": [{"anything-but": ["SUCCEEDED"]}]}}, True),
        ({"detail": {"status": [{"anything-but": {"prefix": "FAIL"}}]}}, False),
        ({"detail": {"missing": [{"exists": False}]}}, True),
        ({"detail": {"status": [{"exists": False}]}}, False),
        ({"detail": {"tags": ["two"]}}, True),
        ({"detail": {"nothing": [None]}}, True),
        ({"detail": {"$or": [{"status": ["X"]}, {"object": {"size": [41]}}]}}, True),
        ({"resources": [{"prefix": "arn:aws:s3"}]}, True),
    ],
)
def test_a_pattern_matches_as_its_operators_say(aws: Account, pattern: dict[str, Any], matches: bool) -> None:
    answer = aws.events.test_event_pattern(EventPattern=json.dumps(pattern), Event=json.dumps(EVENT))

    assert answer["Result"] == matches


@pytest.mark.page("eventbridge/latest/userguide/eb-create-pattern.html")
@pytest.mark.parametrize("pattern", ['{"source": "aws.s3"}', '{"detail": {"x": [{"sufix": "y"}]}}', "{"])
def test_a_wrong_pattern_is_refused(aws: Account, pattern: str) -> None:
    with pytest.raises(ClientError, match="InvalidEventPatternException"):
        aws.events.put_rule(Name=unique("wrong"), EventPattern=pattern)


@pytest.mark.page("eventbridge/latest/userguide/eb-rules.html")
def test_each_rule_that_matches_gets_the_event_whole(aws: Account) -> None:
    source = unique("source")
    heard = [aws.listener({"source": [source]}) for _ in range(2)]
    others = aws.listener({"source": [unique("source")]})

    aws.events.put_events(Entries=[{"Source": source, "DetailType": "Tested", "Detail": json.dumps({"n": 1})}])

    events = [aws.until(listener, what="the event arrives")[0] for listener in heard]
    assert [event["detail"] for event in events] == [{"n": 1}] * 2
    assert len({event["id"] for event in events}) == 1
    assert (events[0]["account"], events[0]["region"]) == (aws.account_id, aws.region)
    assert others() == []


@pytest.mark.page("eventbridge/latest/userguide/eb-putevents.html")
def test_nobody_but_aws_speaks_as_aws(aws: Account) -> None:
    answer = aws.events.put_events(Entries=[{"Source": "aws.s3", "DetailType": "Object Created", "Detail": "{}"}])

    assert answer["FailedEntryCount"] == 1
    assert answer["Entries"][0]["ErrorCode"] == "NotAuthorizedForSourceException"


@pytest.mark.page("eventbridge/latest/userguide/eb-transform-target-input.html")
def test_a_target_gets_what_its_transformer_makes_of_the_event(aws: Account) -> None:
    url, source = aws.message_queue(), unique("source")
    transformer = {"InputPathsMap": {"n": "$.detail.n"}, "InputTemplate": '{"number": <n>}'}
    aws.rule(unique("rule"), {"source": [source]}, {"Arn": aws.arn_of_queue(url), "InputTransformer": transformer})

    aws.events.put_events(Entries=[{"Source": source, "DetailType": "Tested", "Detail": json.dumps({"n": 1})}])

    assert json.loads(aws.until(lambda: aws.receive(url), what="the event arrives")[0]) == {"number": 1}


@pytest.mark.page("lambda/latest/dg/invocation-async-error-handling.html")
def test_a_function_that_fails_is_called_twice_more_and_then_its_event_is_kept(aws: Account) -> None:
    url, source = aws.message_queue(), unique("source")
    code = "def handler(event, context):\n    print('called')\n    raise ValueError('always')\n"
    name = aws.function(code, DeadLetterConfig={"TargetArn": aws.arn_of_queue(url)})
    rule = aws.rule(unique("rule"), {"source": [source]}, {"Arn": aws.arn("lambda", f"function:{name}")})
    aws.functions.add_permission(
        FunctionName=name,
        StatementId="events",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=rule,
    )

    aws.events.put_events(Entries=[{"Source": source, "DetailType": "Tested", "Detail": json.dumps({"n": 1})}])

    kept = aws.until(lambda: aws.receive(url), what="the event is kept", seconds=aws.until_given_up)
    assert [json.loads(body)["detail"] for body in kept] == [{"n": 1}]
    lines = aws.logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern="called")["events"]
    assert len(lines) == 3


@pytest.mark.page("eventbridge/latest/userguide/eb-rule-dlq.html")
def test_an_event_whose_target_is_gone_is_kept_in_the_dead_letter_queue(aws: Account) -> None:
    dead, source = aws.message_queue(), unique("source")
    gone = aws.message_queue()
    target = {
        "Arn": aws.arn_of_queue(gone),
        "DeadLetterConfig": {"Arn": aws.arn_of_queue(dead)},
        "RetryPolicy": {"MaximumRetryAttempts": 1, "MaximumEventAgeInSeconds": 60},
    }
    aws.rule(unique("rule"), {"source": [source]}, target)
    aws.sqs.delete_queue(QueueUrl=gone)

    aws.events.put_events(Entries=[{"Source": source, "DetailType": "Tested", "Detail": json.dumps({"n": 1})}])

    (body,) = aws.until(lambda: aws.receive(dead), what="the event is kept", seconds=aws.until_given_up)
    assert json.loads(body)["detail"] == {"n": 1}

"""Topics of SNS."""

import json
from functools import partial

import pytest
from botocore.exceptions import ClientError

from tests.conformance.account import Account, unique


@pytest.fixture
def topic(aws: Account) -> str:
    arn: str = aws.client("sns").create_topic(Name=unique("topic"))["TopicArn"]
    aws.made(lambda: aws.client("sns").delete_topic(TopicArn=arn))
    return arn


def subscribe(aws: Account, topic: str, **attributes: str) -> str:
    """The URL of a queue that is subscribed to the topic."""
    url = aws.message_queue()
    aws.client("sns").subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=aws.arn_of_queue(url),
        **({"Attributes": attributes} if attributes else {}),
    )
    return url


@pytest.mark.page("sns/latest/dg/sns-message-and-json-formats.html")
def test_a_message_reaches_each_subscriber_in_its_envelope(aws: Account, topic: str) -> None:
    queues = [subscribe(aws, topic), subscribe(aws, topic)]

    published = aws.client("sns").publish(TopicArn=topic, Subject="a run ended", Message="SUCCEEDED")

    for url in queues:
        (body,) = aws.until(partial(aws.receive, url), what="the message arrives")
        envelope = json.loads(body)
        assert (envelope["Type"], envelope["TopicArn"]) == ("Notification", topic)
        assert (envelope["Subject"], envelope["Message"]) == ("a run ended", "SUCCEEDED")
        assert envelope["MessageId"] == published["MessageId"]


@pytest.mark.page("sns/latest/dg/sns-large-payload-raw-message-delivery.html")
def test_raw_delivery_has_no_envelope(aws: Account, topic: str) -> None:
    url = subscribe(aws, topic, RawMessageDelivery="true")

    aws.client("sns").publish(TopicArn=topic, Message="plain")

    assert aws.until(lambda: aws.receive(url), what="the message arrives") == ["plain"]


@pytest.mark.page("sns/latest/dg/sns-subscription-filter-policies.html")
def test_a_filter_keeps_out_what_it_does_not_name(aws: Account, topic: str) -> None:
    url = subscribe(aws, topic, FilterPolicy='{"outcome": ["FAILED"]}', RawMessageDelivery="true")

    for outcome in ("SUCCEEDED", "FAILED"):
        attributes = {"outcome": {"DataType": "String", "StringValue": outcome}}
        aws.client("sns").publish(TopicArn=topic, Message=outcome, MessageAttributes=attributes)

    assert aws.until(lambda: aws.receive(url), what="the message arrives") == ["FAILED"]
    assert aws.receive(url) == []


@pytest.mark.page("sns/latest/api/API_Publish.html")
def test_a_topic_that_does_not_exist_is_refused(aws: Account) -> None:
    with pytest.raises(ClientError, match="NotFound"):
        aws.client("sns").publish(TopicArn=aws.arn("sns", unique("nothing")), Message="x")


@pytest.mark.page("sns/latest/api/API_Publish.html")
@pytest.mark.parametrize("subject", ["x" * 101, "two\nlines"])
def test_a_subject_is_one_line_of_at_most_a_hundred_characters(aws: Account, topic: str, subject: str) -> None:
    with pytest.raises(ClientError, match="Invalid parameter: Subject"):
        aws.client("sns").publish(TopicArn=topic, Subject=subject, Message="x")

"""Each alarm is made to ring by its cause, and whoever listens is told which run it is and what to do."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contract.alarms import OF_A_STAGE, alarm_name
from contract.catalogue import load_catalogue
from contract.layout import RunLayout
from contract.metrics import METRICS, OF_A_RUN
from contract.outcomes import Outcome
from contract.record import new_record
from contract.run import ResolvedRun, RunSpecification, Source, resolve
from lambdas.items import to_item
from tests.pipeline.laptop import QUICK, Laptop, until

STAGE = "local"


@dataclass
class Listener:
    """Everything that is published to the topic, read from a queue that is subscribed to it."""

    laptop: Laptop
    url: str
    heard: list[dict[str, Any]] = field(default_factory=list)

    def of(self, kind: str, about: str) -> list[str]:
        """The texts of all messages of a kind about something."""
        sqs = self.laptop.client("sqs")
        for message in sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages", []):
            self.heard.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return [it["Message"] for it in self.heard if it.get("Subject") == f"{kind}: {about}"]

    def hears(self, kind: str, about: str, *, seconds: float = 180) -> str:
        """The one message of a kind about something, once it has come."""
        [text] = until(lambda: self.of(kind, about), seconds=seconds, what=f"a message {kind} about {about}")
        return text


@pytest.fixture(scope="module")
def listener(laptop: Laptop) -> Listener:
    sqs = laptop.client("sqs")
    url = sqs.create_queue(QueueName="whoever-listens")["QueueUrl"]
    [topic] = [it["TopicArn"] for it in laptop.client("sns").list_topics()["Topics"] if "alerts" in it["TopicArn"]]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allowed = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage"}
    statement = {**allowed, "Resource": arn, "Condition": {"ArnEquals": {"aws:SourceArn": topic}}}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    laptop.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return Listener(laptop, url)


def alarm(laptop: Laptop, name: str) -> dict[str, Any]:
    [found] = laptop.client("cloudwatch").describe_alarms(AlarmNames=[f"rlpipe-{STAGE}-{name}"])["MetricAlarms"]
    description: dict[str, Any] = found
    return description


def copied(laptop: Laptop, terms: dict[str, Any], **others: Any) -> None:
    """An alarm under the terms of another, but for some."""
    kept = ("AlarmActions", "ComparisonOperator", "Dimensions", "EvaluationPeriods", "InsufficientDataActions")
    kept += ("MetricName", "Namespace", "Period", "Statistic", "Threshold", "TreatMissingData")
    laptop.client("cloudwatch").put_metric_alarm(**{name: terms[name] for name in kept} | others)


def rings(laptop: Laptop, name: str, *, seconds: float = 90) -> None:
    until(lambda: alarm(laptop, name)["StateValue"] == "ALARM", seconds=seconds, what=f"the alarm {name} rings")


def train(
    laptop: Laptop,
    experiment: str,
    *,
    environment: str = "CartPole-v1",
    variables: dict[str, str] | None = None,
    **sections: Any,
) -> str:
    """Let a job of the deployed definition train a run that nobody prepares, validates or deploys; the run's id."""
    run_id = f"{experiment}-0123456789ab"
    document = {"environment": {"id": environment}, **sections}
    specification = RunSpecification.parse(json.dumps(document))
    run = ResolvedRun(
        run_id=run_id,
        experiment=experiment,
        source=Source(bucket=laptop.input_bucket, key=f"{experiment}/run.yaml", version_id="v1"),
        specification=resolve(specification, experiment=experiment, catalogue=load_catalogue()),
        submitted_at="2026-01-01T00:00:00Z",
        versions={},
    )
    key = RunLayout(run_id=run_id).specification
    laptop.s3.put_object(Bucket=laptop.artifacts_bucket, Key=key, Body=run.model_dump_json().encode())
    record = new_record(
        run_id=run_id,
        experiment=experiment,
        submitted_at=run.submitted_at,
        endpoint=None,
        seeds=specification.seeds,
        total_timesteps=specification.timesteps,
        price_per_hour=0,
        artifacts=f"s3://{laptop.artifacts_bucket}/runs/{run_id}",
    )
    dynamodb = laptop.client("dynamodb")
    [table] = [name for name in dynamodb.list_tables()["TableNames"] if "-runs-" in name]
    dynamodb.put_item(TableName=table, Item=to_item(record))
    given = [{"name": name, "value": value} for name, value in (variables or {}).items()]
    submit(laptop, run_id, {"environment": given})
    return run_id


def submit(laptop: Laptop, run_id: str, overrides: dict[str, Any]) -> str:
    """A job of a run on the queue for CPUs, as the state machine submits it; its id."""
    described = laptop.batch.describe_job_definitions(status="ACTIVE")["jobDefinitions"]
    [definition] = [it["jobDefinitionArn"] for it in described if "TrainCpu" in it["jobDefinitionName"]]
    queues = laptop.batch.describe_job_queues()["jobQueues"]
    [queue] = [it["jobQueueArn"] for it in queues if "CpuQueue" in it["jobQueueName"]]
    job_id: str = laptop.batch.submit_job(
        jobName=f"{run_id}-seed-0",
        jobQueue=queue,
        jobDefinition=definition,
        parameters={"run": f"s3://{laptop.artifacts_bucket}/runs/{run_id}", "seed": "0"},
        containerOverrides=overrides,
    )["jobId"]
    return job_id


@pytest.fixture
def ended(laptop: Laptop) -> Any:
    """End every job that a test leaves behind: it has shown what it was for."""
    yield
    for queue in laptop.batch.describe_job_queues()["jobQueues"]:
        for job in laptop.batch.list_jobs(jobQueue=queue["jobQueueArn"], filters=EVERY)["jobSummaryList"]:
            if job["status"] not in ("SUCCEEDED", "FAILED"):
                laptop.batch.terminate_job(jobId=job["jobId"], reason="the test is over")


EVERY = [{"name": "AFTER_CREATED_AT", "values": ["0"]}]


def test_a_loss_that_is_no_number_rings_and_so_do_its_job_and_its_run(laptop: Laptop, listener: Listener) -> None:
    run_id = laptop.drop(
        "diverging",
        """
        environment: {id: CartPole-v1}
        timesteps: 100000
        algorithm: {name: ppo, hyperparameters: {learning_rate: 1.0e+30, max_grad_norm: 1.0e+30}}
        """,
    )
    text = listener.hears("LossNotFinite", run_id, seconds=120)
    assert "a loss or a weight became nan or infinite" in text.lower()
    assert f"rlpipe logs {run_id}" in text
    for name in ("LossNotFinite", "JobFailed", "RunFailed"):
        rings(laptop, name)
    assert laptop.end_of(run_id)["status"] == "FAILED"
    assert "not finite" in listener.hears("FAILED", run_id) or "nan" in listener.hears("FAILED", run_id)
    assert listener.of("JobFailed", run_id) == [], "its run ended with it, and has told why"
    assert any("LossNotFinite" in str(change["reason"]) for change in laptop.record(run_id)["history"])


@pytest.mark.usefixtures("ended")
def test_a_policy_that_stops_exploring_and_falls_rings_twice(laptop: Laptop, listener: Listener) -> None:
    """Steps a thousand times too large: from the second update on it does one thing only, and falls at once."""
    reckless = {"learning_rate": 0.3, "n_epochs": 2, "clip_range": 0.9, "ent_coef": 0.0}
    run_id = train(laptop, "reckless", timesteps=10_000_000, algorithm={"name": "ppo", "hyperparameters": reckless})
    assert f"rlpipe stop {run_id}" in listener.hears("EntropyCollapse", run_id, seconds=240)
    assert f"rlpipe pause {run_id}" in listener.hears("ReturnDrop", run_id, seconds=240)
    rings(laptop, "EntropyCollapse")
    rings(laptop, "ReturnDrop")


@pytest.mark.usefixtures("ended")
def test_a_run_that_nears_its_cost_limit_rings(laptop: Laptop, listener: Listener) -> None:
    run_id = train(
        laptop,
        "dear",
        timesteps=10**9,
        limits={"max_cost_usd": 100},
        variables={"RLPIPE_PRICE_PER_HOUR": f"{10 * 3600}"},  # ten dollars a second
    )
    assert f"rlpipe stop {run_id}" in listener.hears("BudgetUsed", run_id)
    rings(laptop, "BudgetUsed")


@pytest.mark.usefixtures("ended")
def test_a_checkpoint_that_does_not_come_rings(laptop: Laptop, listener: Listener) -> None:
    """Segments have room for four episodes of each of so many copies, and a checkpoint comes only between two."""
    many = {"n_envs": 1024, "n_steps": 16}
    run_id = train(
        laptop,
        "slow",
        timesteps=10**8,
        checkpoint={"every_seconds": 1},
        algorithm={"name": "ppo", "hyperparameters": many},
    )
    assert f"rlpipe pause {run_id}" in listener.hears("CheckpointOverdue", run_id)
    rings(laptop, "CheckpointOverdue")


@pytest.mark.usefixtures("ended")
def test_a_training_that_takes_no_steps_rings(laptop: Laptop, listener: Listener) -> None:
    """It evaluates so many episodes at the first update that no step of training is taken meanwhile."""
    run_id = train(
        laptop,
        "standing",
        environment="LunarLander-v3",
        timesteps=10**6,
        evaluation={"every_steps": 1, "episodes": 1000},
    )
    assert f"rlpipe logs {run_id}" in listener.hears("NoProgress", run_id, seconds=120)
    rings(laptop, "NoProgress")


@pytest.mark.usefixtures("ended")
def test_a_job_that_no_instance_can_run_rings_with_the_cause_and_the_fix(laptop: Laptop, listener: Listener) -> None:
    run_id = "stuck-0123456789ab"
    submit(laptop, run_id, {"resourceRequirements": [{"type": "VCPU", "value": "64"}]})
    text = listener.hears("QueueBlocked", run_id)
    assert "needs more vCPUs than its compute environments may have" in text
    assert "Raise max_vcpus" in text
    rings(laptop, "QueueBlocked")


def test_an_event_that_a_function_fails_on_again_and_again_rings(laptop: Laptop, listener: Listener) -> None:
    functions = laptop.client("lambda").list_functions()["Functions"]
    [trigger] = [it["FunctionName"] for it in functions if it["Handler"].startswith("lambdas.trigger.")]
    laptop.client("lambda").invoke(FunctionName=trigger, InvocationType="Event", Payload=b'{"detail": "nonsense"}')
    rings(laptop, "Events-DeadLetters")
    assert "aws sqs receive-message" in listener.hears("DeadLetters", STAGE)


def test_an_execution_that_takes_too_long_rings(laptop: Laptop) -> None:
    """Nobody waits 14 days: the metric is that of a state machine with a second, under the deployed alarm's terms."""
    [deployed] = [it for it in OF_A_STAGE if it.name == "RunTimedOut"]
    terms = alarm(laptop, deployed.name)
    assert terms["AlarmName"] == alarm_name(STAGE, deployed)
    [dimension] = terms["Dimensions"]
    assert dimension == {"Name": "StateMachineArn", "Value": laptop.state_machine}
    role = laptop.states.describe_state_machine(stateMachineArn=laptop.state_machine)["roleArn"]
    waits = {"StartAt": "Wait", "TimeoutSeconds": 1, "States": {"Wait": {"Type": "Wait", "Seconds": 600, "End": True}}}
    machine = laptop.states.create_state_machine(name="hasty", definition=json.dumps(waits), roleArn=role)
    watches = [{"Name": dimension["Name"], "Value": machine["stateMachineArn"]}]
    copied(laptop, terms, AlarmName=f"rlpipe-{STAGE}-hasty", Dimensions=watches, AlarmActions=[])
    laptop.states.start_execution(stateMachineArn=machine["stateMachineArn"])
    rings(laptop, "hasty")


def test_an_endpoint_that_nobody_asks_rings(laptop: Laptop, listener: Listener) -> None:
    """Nobody waits a day: ten seconds, under the deployed alarm's terms else."""
    run_id = laptop.drop("lonely", QUICK)
    assert laptop.end_of(run_id)["status"] == "SUCCEEDED", laptop.outcome(run_id)
    cloudwatch = laptop.client("cloudwatch")
    [terms] = cloudwatch.describe_alarms(AlarmNames=["rlpipe-lonely-idle"])["MetricAlarms"]
    now = datetime.now(UTC)

    def asked() -> Any:
        laptop.predict("lonely", [0.0, 0.0, 0.0, 0.0])
        return cloudwatch.get_metric_statistics(
            **{name: terms[name] for name in ("Namespace", "MetricName", "Dimensions")},
            StartTime=now,
            EndTime=now + timedelta(hours=1),
            Period=3600,
            Statistics=["Sum"],
        )["Datapoints"]

    until(asked, seconds=60, what="a request is counted")
    copied(laptop, terms, AlarmName="rlpipe-lonely-hasty-idle", Period=10)

    def quiet() -> bool:
        laptop.predict("lonely", [0.0, 0.0, 0.0, 0.0])
        [hasty] = cloudwatch.describe_alarms(AlarmNames=["rlpipe-lonely-hasty-idle"])["MetricAlarms"]
        return bool(hasty["StateValue"] == "OK")

    until(quiet, seconds=60, what="the alarm is quiet while somebody asks")
    assert listener.of("idle", "lonely") == []
    assert "rlpipe endpoints off lonely" in listener.hears("idle", "lonely")


def test_an_end_is_told_once_with_a_link_to_the_report_and_its_metrics_are_there(
    laptop: Laptop, listener: Listener
) -> None:
    run_id = laptop.drop(
        "modest",
        """
        environment: {id: CartPole-v1}
        timesteps: 2048
        validation: {episodes: 20, min_return: 5}
        deploy: {target: none}
        """,
    )
    text = listener.hears(Outcome.SUCCEEDED, run_id, seconds=240)
    link = next(word for word in text.split() if word.startswith("http"))
    key = RunLayout(run_id=run_id).report
    assert link == f"{laptop.endpoint_url}/{laptop.artifacts_bucket}/{key}"
    assert laptop.exists(laptop.artifacts_bucket, key)
    found = laptop.client("cloudwatch").list_metrics(Namespace="rlpipe", Dimensions=[{"Name": "Run", "Value": run_id}])
    named = {metric["MetricName"] for metric in found["Metrics"]}
    always = {metric.name for metric in METRICS if metric.dimensions == OF_A_RUN and metric.when == "always"}
    assert always | {"Entropy", "ApproxKl", "ExplainedVariance", "Loss"} <= named
    assert len(named) <= len(always) + 5, "each is paid for"

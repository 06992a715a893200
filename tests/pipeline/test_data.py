"""Data that are dropped: prepared before training, rejected with reasons, and what starts a run."""

import io
import json
import time
from concurrent.futures import ThreadPoolExecutor

import polars as pl

from contract.dataset import Dataset
from contract.layout import DATA_CARD, DATASET, REJECTED_ROWS, RunLayout, champion_key, run_id_of
from contract.outcomes import Outcome
from tests.pipeline.laptop import QUICK, Laptop, until
from tests.unit.dataset.damaged_files import ROWS, csv, log, with_cell

LOG_ALONE = """
environment:
  observation_space: {type: Box, shape: [4]}
  action_space: {type: Discrete, n: 2}
algorithm: {name: bc, hyperparameters: {net_arch: [8]}}
timesteps: 200
data: {kind: transitions, max_rejected: 0}
validation: {min_return: 0}
"""
WITH_DATA = QUICK + "deploy: {target: none}\ndata: {kind: transitions}\n"


def put(laptop: Laptop, experiment: str, name: str, content: str | bytes) -> str:
    """Drop a data file; the id of the run that it would start."""
    key = f"{experiment}/data/{name}"
    body = content.encode() if isinstance(content, str) else content
    version = laptop.s3.put_object(Bucket=laptop.input_bucket, Key=key, Body=body)["VersionId"]
    return run_id_of(laptop.input_bucket, key, version, run_file=f"{experiment}/run.yaml")


def runs_of(laptop: Laptop, experiment: str) -> list[str]:
    executions = laptop.states.list_executions(stateMachineArn=laptop.state_machine)["executions"]
    return [item["name"] for item in executions if item["name"].rpartition("-")[0] == experiment]


def parts(content: str) -> list[str]:
    """A CSV as four files, of ten episodes each."""
    header, *rows = content.splitlines()
    size = len(rows) // 4
    return ["\n".join([header, *rows[first : first + size]]) + "\n" for first in range(0, len(rows), size)]


def test_data_dropped_before_the_run_file_are_pinned_prepared_and_trained_on(laptop: Laptop) -> None:
    ignored = put(laptop, "logged", "log.csv", csv())
    run_id = laptop.drop("logged", WITH_DATA)
    assert laptop.end_of(run_id)["status"] == "SUCCEEDED"
    prefix = RunLayout(run_id=run_id).prefix
    run = laptop.json(f"{prefix}/run.json")
    version = laptop.s3.head_object(Bucket=laptop.input_bucket, Key="logged/data/log.csv")["VersionId"]
    assert run["inputs"] == [{"key": "logged/data/log.csv", "version_id": version, "bytes": len(csv())}]
    dataset = Dataset.model_validate(laptop.json(f"{prefix}/{DATASET}"))
    assert (dataset.accepted, dataset.rows, dataset.rejected) == (True, ROWS, 0)
    for file in [*dataset.train.files, *dataset.held_out.files]:
        body = laptop.s3.get_object(Bucket=laptop.artifacts_bucket, Key=f"{prefix}/data/{file.path}")["Body"].read()
        assert len(pl.read_parquet(io.BytesIO(body))) == file.rows
    assert laptop.exists(laptop.artifacts_bucket, f"{prefix}/{DATA_CARD}")
    states = [change["state"] for change in laptop.record(run_id)["history"]]
    assert states == ["PREPARING", "TRAINING", "VALIDATING", "SUCCEEDED"]
    assert {job["jobName"].removeprefix(f"{run_id}-") for job in laptop.jobs_of(run_id)} == {
        "data",
        "seed-0",
        "validate",
    }
    assert laptop.execution(ignored) is None, "the run file's own run has these data"


def test_a_log_without_a_simulator_becomes_an_answering_policy(laptop: Laptop) -> None:
    put(laptop, "plant", "log.csv", csv())
    run_id = laptop.drop("plant", LOG_ALONE)
    assert laptop.end_of(run_id)["status"] == "SUCCEEDED", laptop.outcome(run_id)
    layout = RunLayout(run_id=run_id)
    verdict = laptop.json(layout.verdict)
    assert (verdict["passed"], verdict["rule"], verdict["episodes"]) == (True, "off-policy", 0)
    assert verdict["off_policy"]["episodes"] == 8
    assert verdict["mean_return"] == verdict["off_policy"]["estimate"]
    assert "no episode was played" in laptop.outcome(run_id)["reason"]
    assert laptop.serves("plant") == run_id
    golden = laptop.json(layout.golden)
    for observation, action in zip(golden["observations"][:4], golden["actions"][:4], strict=True):
        assert laptop.predict("plant", observation) == {"action": action}
    assert laptop.exists(laptop.artifacts_bucket, layout.report)
    assert not laptop.exists(laptop.artifacts_bucket, layout.episodes)
    assert laptop.json(champion_key("plant"))["mean_return"] == verdict["mean_return"]


def test_what_needs_a_simulator_is_refused_before_anything_is_started(laptop: Laptop) -> None:
    put(laptop, "unplayable", "log.csv", csv())
    run_id = laptop.drop("unplayable", LOG_ALONE.replace("name: bc", "name: ppo") + "evaluation: {every_steps: 100}\n")
    execution = laptop.end_of(run_id)
    assert (execution["status"], execution["error"]) == ("FAILED", Outcome.INVALID)
    reason = laptop.outcome(run_id)["reason"]
    for field in ("algorithm.name: bc, iql", "evaluation.every_steps: null"):
        assert f"{field}: without environment.id there is no simulator" in reason
    assert laptop.jobs_of(run_id) == []


def test_bad_data_cost_seconds_and_end_as_rejected_with_their_reasons(laptop: Laptop) -> None:
    content = csv()
    for row in range(1, 60):
        content = with_cell(row, "reward", "n/a", content)
    put(laptop, "spoiled", "log.csv", content)
    run_id = laptop.drop("spoiled", WITH_DATA)
    execution = laptop.end_of(run_id)
    assert (execution["status"], execution["error"]) == ("FAILED", Outcome.REJECTED)
    outcome = laptop.outcome(run_id)
    assert outcome["reason"].startswith("The data were rejected: 75 of 1,000 rows in 1 of 1 files cannot be used")
    assert any("59 rows: reward is not a number" in line for line in outcome["log_tail"])
    assert any('data/log.csv row 1: {"episode"' in line for line in outcome["log_tail"])
    prefix = RunLayout(run_id=run_id).prefix
    body = laptop.s3.get_object(Bucket=laptop.artifacts_bucket, Key=f"{prefix}/{REJECTED_ROWS}")["Body"].read()
    assert len(pl.read_parquet(io.BytesIO(body))) == 75
    assert laptop.exists(laptop.input_bucket, "spoiled/data/log.csv"), "nothing that was dropped is taken away"
    assert {job["jobName"].removeprefix(f"{run_id}-") for job in laptop.jobs_of(run_id)} == {"data"}
    assert laptop.state_of(run_id) == "REJECTED"


def test_a_run_file_without_its_data_is_refused_and_the_data_start_the_run(laptop: Laptop) -> None:
    first = laptop.drop("later", WITH_DATA)
    assert laptop.end_of(first)["error"] == Outcome.INVALID
    error = laptop.s3.get_object(Bucket=laptop.input_bucket, Key="later/run.yaml.error.txt")["Body"].read().decode()
    assert "- data.files: 1 to 10,000 files in later/data/" in error
    time.sleep(1.1)  # S3 tells whole seconds: data of the same second are taken for the run file's own
    with ThreadPoolExecutor(4) as pool:
        started = list(pool.map(lambda item: put(laptop, "later", f"{item[0]}.csv", item[1]), enumerate(parts(csv()))))

    def begun() -> list[str]:
        return [run for run in runs_of(laptop, "later") if run != first]

    (run_id,) = until(begun, seconds=60, what="the data start a run")
    assert run_id in started
    assert laptop.end_of(run_id)["status"] == "SUCCEEDED"
    assert begun() == [run_id], "four files that came together start one run"
    run = laptop.json(RunLayout(run_id=run_id).specification)
    assert len(run["inputs"]) == 4
    assert run["source"]["key"] == "later/run.yaml"


def test_the_same_arrival_delivered_fifty_times_starts_one_run(laptop: Laptop) -> None:
    laptop.drop("again", WITH_DATA)
    time.sleep(1.1)
    run_id = put(laptop, "again", "log.csv", csv())
    key = "again/data/log.csv"
    found = laptop.s3.head_object(Bucket=laptop.input_bucket, Key=key)
    detail = {"bucket": {"name": laptop.input_bucket}, "object": {"key": key, "version-id": found["VersionId"]}}
    event = {"time": found["LastModified"].strftime("%Y-%m-%dT%H:%M:%SZ"), "detail": detail}
    functions = laptop.client("lambda")
    (name,) = [
        function["FunctionName"]
        for function in functions.list_functions()["Functions"]
        if function["Handler"].startswith("lambdas.data_arrived.")
    ]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: functions.invoke(FunctionName=name, Payload=json.dumps(event)), range(50)))
    assert laptop.end_of(run_id)["status"] == "SUCCEEDED"
    (queue,) = [url for url in laptop.client("sqs").list_queues()["QueueUrls"] if "WaitingData" in url]

    def delivered() -> bool:
        numbers = laptop.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
        return all(numbers[f"ApproximateNumberOfMessages{kind}"] == "0" for kind in ("", "Delayed", "NotVisible"))

    until(delivered, seconds=120, what="every message was looked at")
    assert len(runs_of(laptop, "again")) == 2, "the refused run file's, and the data's"


def test_with_a_marker_only_the_marker_starts_a_run(laptop: Laptop) -> None:
    marked = WITH_DATA.replace("transitions", "transitions, marker: _SUCCESS")
    first = laptop.drop("marked", marked)
    assert laptop.end_of(first)["error"] == Outcome.INVALID
    time.sleep(1.1)
    for number, content in enumerate(parts(csv(log()))):
        put(laptop, "marked", f"{number}.csv", content)
    run_id = put(laptop, "marked", "_SUCCESS", "")
    until(lambda: laptop.execution(run_id), seconds=60, what="the marker starts a run")
    assert laptop.end_of(run_id)["status"] == "SUCCEEDED"
    assert sorted(runs_of(laptop, "marked")) == sorted([first, run_id])


def test_preparing_can_be_stopped(laptop: Laptop) -> None:
    put(laptop, "halted", "log.csv", csv())
    run_id = laptop.drop("halted", WITH_DATA)
    record = laptop.reaches(run_id, "PREPARING", "TRAINING")
    if record["state"] == "PREPARING":
        assert record["possible"] == ["stop"]
    status, _ = laptop.command(run_id, "stop", "enough")
    assert status == 202
    assert laptop.end_of(run_id)["error"] == Outcome.STOPPED

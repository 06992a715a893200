"""What arrives in the bucket: once or fifty times, one or twenty, right or wrong, from any client."""

import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from contract.layout import run_id_of
from tests.pipeline.laptop import QUICK, Laptop, until
from tests.unit.contract.wrong_run_files import WRONG_RUN_FILES


def test_the_same_object_delivered_fifty_times_starts_one_run(laptop: Laptop) -> None:
    key = "duplicate/run.yaml"
    run_id = laptop.drop("duplicate", QUICK + "deploy: {target: none}")
    detail = {
        "bucket": {"name": laptop.input_bucket},
        "object": {"key": key, "version-id": laptop.s3.head_object(Bucket=laptop.input_bucket, Key=key)["VersionId"]},
    }
    functions = laptop.client("lambda")
    (trigger,) = [
        function["FunctionName"]
        for function in functions.list_functions()["Functions"]
        if function["Handler"].startswith("lambdas.trigger.")
    ]
    event = {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}

    def deliver(_: int) -> dict[str, object]:
        response = functions.invoke(FunctionName=trigger, Payload=json.dumps(event))
        answer: dict[str, object] = json.loads(response["Payload"].read())
        return answer

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(deliver, range(50)))
    assert {answer["run_id"] for answer in answers} == {run_id}
    assert laptop.end_of(run_id)["status"] == "SUCCEEDED"
    assert deliver(0) == {"run_id": run_id, "started": False}, "also long after its end"
    executions = laptop.states.list_executions(stateMachineArn=laptop.state_machine)["executions"]
    assert [item["name"] for item in executions if item["name"].startswith("duplicate-")] == [run_id]
    assert len(laptop.jobs_of(run_id)) == 2


def test_twenty_files_at_once_all_end_and_the_queue_holds_back_what_does_not_fit(laptop: Laptop) -> None:
    content = QUICK.replace("2048", "1024").replace("episodes: 20", "episodes: 5") + "deploy: {target: none}"
    with ThreadPoolExecutor(20) as pool:
        runs = list(pool.map(lambda n: laptop.drop(f"crowd-{n}", content), range(20)))
    capacity = {
        item["computeEnvironmentArn"]: item["computeResources"]["maxvCpus"]
        for item in laptop.batch.describe_compute_environments()["computeEnvironments"]
    }
    seen_waiting = False

    def busy() -> int:
        return sum(
            len(laptop.batch.list_jobs(jobQueue=queue["jobQueueArn"], jobStatus="RUNNING")["jobSummaryList"])
            for queue in laptop.batch.describe_job_queues()["jobQueues"]
        )

    def waiting() -> int:
        return sum(
            len(laptop.batch.list_jobs(jobQueue=queue["jobQueueArn"], jobStatus="RUNNABLE")["jobSummaryList"])
            for queue in laptop.batch.describe_job_queues()["jobQueues"]
        )

    def all_over() -> bool:
        nonlocal seen_waiting
        seen_waiting = seen_waiting or waiting() > 0
        assert busy() <= sum(capacity.values())
        descriptions = [laptop.execution(run_id) for run_id in runs]
        return all(item is not None and item["status"] != "RUNNING" for item in descriptions)

    until(all_over, seconds=240, what="all twenty end")
    assert seen_waiting
    assert len(set(runs)) == 20
    ends = [laptop.outcome(run_id)["outcome"] for run_id in runs]
    assert ends == ["SUCCEEDED"] * 20
    names = [item["name"] for item in laptop.states.list_executions(stateMachineArn=laptop.state_machine)["executions"]]
    assert sorted(name for name in names if name.startswith("crowd-")) == sorted(runs)


def test_each_wrong_file_is_refused_beside_itself_and_typically_within_two_seconds(laptop: Laptop) -> None:
    """Each for its own reason. The time is judged by the median: a single one measures the machine's other work."""
    took = []
    for number, (field, content, said) in enumerate(WRONG_RUN_FILES):
        error_key = f"wrong-{number}/run.yaml.error.txt"
        dropped = time.monotonic()
        run_id = laptop.drop(f"wrong-{number}", content)
        until(lambda key=error_key: laptop.exists(laptop.input_bucket, key), seconds=30, what=f"{run_id} is refused")
        took.append(time.monotonic() - dropped)
        text = laptop.s3.get_object(Bucket=laptop.input_bucket, Key=error_key)["Body"].read().decode()
        assert f"- {field}: " in text
        assert said in text
    assert statistics.median(took) <= 2, took


def test_other_objects_start_nothing(laptop: Laptop) -> None:
    for key in ("quiet/notes.txt", "quiet/run.yaml.bak", "quiet/run.yaml.error.txt", "quiet/data/part.csv"):
        laptop.s3.put_object(Bucket=laptop.input_bucket, Key=key, Body=QUICK.encode())
    run_id = laptop.drop("loud", "environment: {id: Nothing-v0}")
    laptop.end_of(run_id)  # events are in order enough: whatever the others started would have started by now
    executions = laptop.states.list_executions(stateMachineArn=laptop.state_machine)["executions"]
    assert [item["name"] for item in executions if item["name"].startswith("quiet")] == []


def test_the_ordinary_aws_command_line_works(laptop: Laptop, tmp_path: Path) -> None:
    aws = [str(Path(sys.executable).parent / "aws")]
    environment = {**os.environ, **laptop.environment}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [*aws, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    file = tmp_path / "run.yaml"
    file.write_text(QUICK, encoding="utf-8")
    run("s3", "cp", str(file), f"s3://{laptop.input_bucket}/by-hand/run.yaml")
    version = laptop.s3.head_object(Bucket=laptop.input_bucket, Key="by-hand/run.yaml")["VersionId"]
    run_id = run_id_of(laptop.input_bucket, "by-hand/run.yaml", version)
    laptop.end_of(run_id)
    described = json.loads(
        run("stepfunctions", "describe-execution", "--execution-arn", laptop.execution_arn(run_id), "--output", "json")
    )
    assert described["status"] == "SUCCEEDED"
    answer = tmp_path / "answer.json"
    run(
        *("sagemaker-runtime", "invoke-endpoint", "--endpoint-name", "by-hand"),
        *("--content-type", "application/json"),
        *("--body", '{"observation": [0, 0, 0.1, 0]}', str(answer)),
    )
    assert "action" in json.loads(answer.read_text(encoding="utf-8"))

"""`rlpipe doctor` on the deployed laptop."""

import json
import os
import subprocess
import sys
from typing import Any

from tests.pipeline.laptop import Laptop

EXAMPLE = "examples/cartpole"


def doctor(laptop: Laptop) -> tuple[int, dict[str, Any]]:
    environment = {**os.environ, **laptop.environment, "RLPIPE_STATE_DIR": str(laptop.state_dir)}
    command = [sys.executable, "-m", "cli.main", "doctor", EXAMPLE, "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    document: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, document


def test_nothing_stops_a_run_until_a_queue_is_switched_off(laptop: Laptop) -> None:
    code, document = doctor(laptop)
    assert (code, document["stops_a_run"], document["stage"]) == (0, False, "local")
    assert {finding["level"] for finding in document["findings"]} == {"ok"}, document
    [queue, *_] = [queue["jobQueueName"] for queue in laptop.batch.describe_job_queues()["jobQueues"]]
    laptop.batch.update_job_queue(jobQueue=queue, state="DISABLED")
    try:
        code, document = doctor(laptop)
    finally:
        laptop.batch.update_job_queue(jobQueue=queue, state="ENABLED")
    assert (code, document["stops_a_run"]) == (1, True)
    [found] = [finding for finding in document["findings"] if finding["level"] == "stops"]
    assert found["fix"] == f"aws batch update-job-queue --job-queue {queue} --state ENABLED"

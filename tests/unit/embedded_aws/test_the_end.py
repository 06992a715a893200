"""However an instance ends, nothing of it stays."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import psutil
import pytest

from embedded_aws.warden import carriers
from tests.conformance.account import until
from tests.conformance.embedded import ROOT, Instance, alive

FUNCTION = "def handler(event, context):\n    return 1\n"


@pytest.fixture
def busy(tmp_path: Path) -> Instance:
    """An instance with a job that has a child and ignores SIGTERM, an endpoint and a warm function."""
    aws = Instance(tmp_path)
    queue = aws.queue()
    for command, line in (("parent", "sleeping"), ("deaf", "working")):
        aws.says(aws.submit(aws.definition(command), queue), line)
    assert aws.invoke(aws.endpoint(aws.model("served"))) == "served"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("index.py", FUNCTION)
    aws.functions.create_function(
        FunctionName="warm",
        Runtime="python3.12",
        Handler="index.handler",
        Role=aws.role("lambda"),
        Code={"ZipFile": archive.getvalue()},
    )
    aws.functions.invoke(FunctionName="warm", Payload=json.dumps({}))
    return aws


def descendants(aws: Instance) -> list[int]:
    return [process.pid for process in psutil.Process(aws.process.pid).children(recursive=True)]


def test_kill_9_leaves_no_process_and_the_next_start_works(busy: Instance) -> None:
    family, marker = descendants(busy), busy.marker
    assert len(family) >= 6, "the warden, two jobs, a child, a server and a function"

    busy.process.send_signal(signal.SIGKILL)
    busy.process.wait()

    until(lambda: not any(alive(pid) for pid in family), what="all of its processes end")
    assert carriers(marker) == []
    busy.process = busy.start()
    assert busy.batch.describe_job_queues()["jobQueues"] == []
    busy.stop()


def test_sigterm_ends_everything_within_seconds(busy: Instance) -> None:
    family, marker = descendants(busy), busy.marker

    busy.process.send_signal(signal.SIGTERM)

    assert busy.process.wait(3) == 0
    until(lambda: not any(alive(pid) for pid in family), what="all of its processes end", seconds=3)
    assert carriers(marker) == []


def test_leftovers_of_an_earlier_instance_are_ended_at_the_start(tmp_path: Path) -> None:
    leftover = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], env={**os.environ, "RLPIPE_EMBEDDED_AWS": "earlier"}
    )
    (tmp_path / "instance.json").write_text(json.dumps({"marker": "earlier"}))

    Instance(tmp_path).stop()

    assert leftover.wait(5) == -signal.SIGKILL


def test_a_state_folder_has_one_instance(aws: Instance) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "embedded_aws", "--port", "1", "--state-dir", str(aws.state_dir)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
    )

    assert second.returncode == 1
    assert f"another embedded AWS runs in {aws.state_dir}" in second.stderr
    assert aws.is_healthy()


def test_it_listens_on_loopback_only(aws: Instance) -> None:
    aws.endpoint(aws.model("x"))
    root = psutil.Process(aws.process.pid)
    listening = [
        connection.laddr
        for process in [root, *root.children(recursive=True)]
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN or connection.type == socket.SOCK_DGRAM
    ]

    assert aws.port in {address.port for address in listening}
    assert {address.ip for address in listening} == {"127.0.0.1"}

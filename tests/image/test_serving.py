"""The serving container as SageMaker starts and asks it: /opt/ml/model, `serve`, port 8080, /ping, /invocations.

And as one that nobody gives a folder."""

import json
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.archives import extract
from contract.layout import MODEL_ARCHIVE
from contract.outcomes import ExitCode
from tests.conformance.embedded import Instance
from tests.image.building import Image
from tests.image.conftest import Start, figure
from tests.image.docker import HOST_NETWORK, NO_NETWORK, Container, mounted, until

# In the container itself: it has no network but its own loopback.
_ASK = """
import http.client, json, sys
connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=10)
method, path, body = json.load(sys.stdin)
connection.request(method, path, body and json.dumps(body), {"content-type": "application/json"} if body else {})
answer = connection.getresponse()
print(json.dumps([answer.status, json.loads(answer.read())]))
"""


def _ask(container: Container, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    status, answer = json.loads(container.python(_ASK, stdin=json.dumps([method, path, body])))
    return status, answer


@pytest.fixture
def model(finished_run: Path, tmp_path: Path) -> Path:
    """model.tar.gz as SageMaker extracts it."""
    folder = tmp_path / "model"
    with (finished_run / MODEL_ARCHIVE).open("rb") as archive:
        extract(archive, folder)
    return folder


@pytest.fixture
def served(serving: Image, model: Path, start: Start) -> Container:
    quickly = ("--health-interval=1s", "--health-start-period=60s")
    container = start(serving, "serve", options=(NO_NETWORK, *quickly, *mounted(model, "/opt/ml/model")))
    until(
        lambda: container.state()["Health"]["Status"] == "healthy" or not container.state()["Running"],
        what="the container is healthy",
    )
    assert container.state()["Running"], container.log()
    return container


def test_it_answers_as_validated(served: Container, model: Path) -> None:
    golden = json.loads((model / "golden.json").read_text())
    assert _ask(served, "GET", "/ping")[0] == 200
    status, answer = _ask(served, "POST", "/invocations", {"observations": golden["observations"]})
    assert (status, answer) == (200, {"actions": golden["actions"]})
    status, answer = _ask(served, "POST", "/invocations", {"observation": golden["observations"][0]})
    assert (status, answer) == (200, {"action": golden["actions"][0]})


def test_a_wrong_observation_is_refused(served: Container) -> None:
    status, answer = _ask(served, "POST", "/invocations", {"observation": [1, 2]})
    assert status == 400
    assert answer["error"]["field"] == "observation"


def test_process_1_is_python_and_ends_by_itself_when_told_to(served: Container) -> None:
    arguments = served.python("print(open('/proc/1/cmdline').read().split('\\0')[:-1])")
    assert arguments.strip() == "['python', '-m', 'serving_image.server', 'serve']"
    exit_code, seconds = served.stop()
    figure(f"serving: ended {seconds:.1f} s after SIGTERM")
    assert exit_code == ExitCode.DONE
    assert seconds < 10


def test_a_container_where_nothing_answers_is_unhealthy(serving: Image, start: Start) -> None:
    elsewhere = ("--entrypoint=python", "--health-interval=1s", "--health-retries=1", "--health-start-period=1ms")
    container = start(serving, "-c", "import signal; signal.pause()", options=(NO_NETWORK, *elsewhere))
    until(lambda: container.state()["Health"]["Status"] == "unhealthy", what="the container is unhealthy")


def test_a_folder_without_a_model_is_not_served(serving: Image, start: Start, tmp_path: Path) -> None:
    container = start(serving, "serve", options=(NO_NETWORK, *mounted(tmp_path, "/opt/ml/model")))
    until(lambda: not container.state()["Running"], what="the container ends")
    assert container.state()["ExitCode"] == ExitCode.FAILED
    assert "Not serving." in container.log()


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[Instance]:
    instance = Instance(tmp_path / "aws")
    yield instance
    instance.stop()


def test_without_a_folder_it_fetches_its_model(
    serving: Image, model: Path, finished_run: Path, start: Start, aws: Instance
) -> None:
    """With nothing to write on but `/tmp`, and no key of anybody but its own."""
    aws.s3.create_bucket(Bucket="models")
    aws.s3.upload_file(str(finished_run / MODEL_ARCHIVE), "models", "runs/small/model.tar.gz")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    variables = {
        "RLPIPE_MODEL_URI": "s3://models/runs/small/model.tar.gz",
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "RLPIPE_BIND_HOST": "127.0.0.1",
    }
    options = (HOST_NETWORK, "--tmpfs=/tmp", *(f"--env={name}={value}" for name, value in variables.items()))
    container = start(serving, options=options)
    until(lambda: "Serving on" in container.log() or not container.state()["Running"], what="it serves")
    assert "Serving on" in container.log(), container.log()
    golden = json.loads((model / "golden.json").read_text())
    body = json.dumps({"observations": golden["observations"]}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert json.load(answer) == {"actions": golden["actions"]}
    assert container.python("import os; print(os.listdir('/tmp'))").strip() == "[]"


def test_the_image_has_authorities_to_trust(serving: Image, start: Start) -> None:
    """For S3 by TLS; without any it would trust nobody."""
    container = start(serving, "-c", "import signal; signal.pause()", options=(NO_NETWORK, "--entrypoint=python"))
    known = container.python("import os, ssl; print(len(os.listdir(ssl.get_default_verify_paths().capath)))")
    assert int(known) > 50

"""Start, status and stop, as the command line uses them."""

import json
import socket
from pathlib import Path

import pytest

from embedded_aws import lifecycle
from embedded_aws.warden import carriers
from tests.conformance.embedded import free_port


def test_start_is_idempotent_and_stop_ends_it(tmp_path: Path) -> None:
    port = free_port()
    assert lifecycle.status(tmp_path) is None

    running = lifecycle.start(tmp_path, port)
    try:
        assert lifecycle.start(tmp_path, port) == running == lifecycle.status(tmp_path)
        with pytest.raises(lifecycle.LifecycleError, match=rf"already answers at port {port} \(given: 1\)"):
            lifecycle.start(tmp_path, 1)
        record = json.loads((tmp_path / "local.json").read_text())
        assert {"pid": running.pid, "port": port, "endpoint_url": f"http://127.0.0.1:{port}"}.items() <= record.items()
    finally:
        stopped = lifecycle.stop(tmp_path)

    assert stopped
    assert lifecycle.status(tmp_path) is None
    assert carriers(running.marker) == []
    assert not lifecycle.stop(tmp_path)


def test_a_port_of_somebody_else_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(lifecycle.LifecycleError, match=f"port: {port} is taken by another program"):
            lifecycle.start(tmp_path, port)


def test_the_environment_points_at_the_instance(tmp_path: Path) -> None:
    running = lifecycle.Running(tmp_path, 1, 4600, "http://127.0.0.1:4600", "2026-01-01T00:00:00Z", "marker")

    environment = lifecycle.environment(running)

    assert environment == {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:4600",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }

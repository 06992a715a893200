"""Start, status and stop, as the command line uses them."""

import json
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

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


@pytest.fixture
def cdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the CDK command line is asked for and does: it runs the app, as the real one does before it deploys."""
    (tmp_path / "cdk.json").write_text(
        json.dumps({"app": "echo synthesised >> done && mkdir -p cdk.out && echo '{}' > cdk.out/manifest.json"})
    )
    (tmp_path / "instance.json").write_text("{}")
    state: dict[str, Any] = {"bootstrap fails": False, "deploy fails": False}

    def run(_self: Any, step: str, *arguments: str, cwd: Path = tmp_path) -> None:
        if step == "deploy":
            app = arguments[arguments.index("--app") + 1]
            done = subprocess.run(["sh", "-c", app], cwd=tmp_path, check=False).returncode
            if done:
                raise lifecycle.LifecycleError(f"the app ended with {done}")
        else:
            time.sleep(0.3)  # whoever does not wait for it is first
        if state[f"{step} fails"]:
            raise lifecycle.LifecycleError(f"no {step}")
        with (tmp_path / "done").open("a") as log:
            log.write(f"{step}\n")
        _self._seconds[step] = 1.0

    monkeypatch.setattr(lifecycle, "ROOT", tmp_path)
    monkeypatch.setattr("embedded_aws.lifecycle._Cdk.run", run)
    return state


def _deployed(folder: Path, seconds_to_start: float = 0.0) -> list[str]:
    """What was done by a deployment, in this order."""
    (folder / "done").write_text("")

    def until_it_answers() -> None:
        time.sleep(seconds_to_start)
        with (folder / "done").open("a") as log:
            log.write("answers\n" if seconds_to_start else "")

    running = lifecycle.Running(folder, 1, 4600, "http://127.0.0.1:4600", "2026-01-01T00:00:00Z", "marker")
    lifecycle.deploy(running, until_it_answers=until_it_answers)
    return (folder / "done").read_text().split()


def test_a_deployment_begins_when_it_is_synthesised_and_bootstrapped(tmp_path: Path, cdk: dict[str, Any]) -> None:
    assert _deployed(tmp_path) == ["synthesised", "bootstrap", "deploy"]


def test_synthesis_waits_for_an_instance_only_if_the_cdk_must_ask_it(tmp_path: Path, cdk: dict[str, Any]) -> None:
    assert _deployed(tmp_path, 0.3) == ["answers", "synthesised", "bootstrap", "deploy"]
    known = tmp_path / "cdk-home" / "cache" / "accounts_partitions.json"
    known.parent.mkdir(parents=True)
    known.write_text('{"test": {"accountId": "000000000000"}}')
    (tmp_path / "app.py").write_text("changed")
    (tmp_path / "bootstrapped.json").unlink()
    assert _deployed(tmp_path, 0.3) == ["synthesised", "answers", "bootstrap", "deploy"]


def test_what_is_deployed_already_is_not_deployed_again(tmp_path: Path, cdk: dict[str, Any]) -> None:
    _deployed(tmp_path)
    assert _deployed(tmp_path) == []


def test_only_what_is_lacking_is_done_again(tmp_path: Path, cdk: dict[str, Any]) -> None:
    cdk["deploy fails"] = True
    with pytest.raises(lifecycle.LifecycleError, match="no deploy"):
        _deployed(tmp_path)
    cdk["deploy fails"] = False
    assert _deployed(tmp_path) == ["bootstrap", "deploy"]
    (tmp_path / "app.py").write_text("changed")
    assert _deployed(tmp_path) == ["synthesised", "deploy"]


def test_nothing_is_deployed_without_a_bootstrap(tmp_path: Path, cdk: dict[str, Any]) -> None:
    cdk["bootstrap fails"] = True
    with pytest.raises(lifecycle.LifecycleError, match="no bootstrap"):
        _deployed(tmp_path)
    assert "deploy" not in (tmp_path / "done").read_text().split()

"""The commands of the laptop's AWS, over its life cycle's functions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embedded_aws import lifecycle
from embedded_aws.lifecycle import Deployment, LifecycleError, Running
from tests.unit.cli.conftest import Said

OUTPUTS = {
    "InputBucketName": "in",
    "ArtifactsBucketName": "out",
    "StateMachineArn": "arn:x",
    "ApiUrl": "http://127.0.0.1:4999/api",
    "Other": "y",
}


@pytest.fixture
def laptop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What the life cycle was asked for, and what it says."""
    state: dict[str, Any] = {"running": None, "started": [], "stopped": 0, "answers": False, "seconds": {"deploy": 1.0}}
    monkeypatch.setenv("RLPIPE_STATE_DIR", str(tmp_path))

    def begin(state_dir: Path, port: int, *, containers: bool, keep: bool) -> tuple[Running, Callable[[], None]]:
        state["started"].append(port)
        state["containers"], state["keep"] = containers, keep
        state["running"] = Running(state_dir, 123, port, f"http://127.0.0.1:{port}", "2026-03-01T12:00:00Z", "m")
        return state["running"], lambda: state.update(answers=True)

    def stop(state_dir: Path) -> bool:
        was_up, state["running"] = state["running"] is not None, None
        return was_up

    def deploy(
        _running: Running, on_line: Callable[[str], None], until_it_answers: Callable[[], None] = lambda: None
    ) -> Deployment:
        until_it_answers()
        assert state["answers"]
        on_line("✅  rlpipe-local-storage")
        on_line("a detail")
        return Deployment(state["seconds"])

    monkeypatch.setattr(lifecycle, "begin", begin)
    monkeypatch.setattr(lifecycle, "stop", stop)
    monkeypatch.setattr(lifecycle, "deploy", deploy)
    monkeypatch.setattr(lifecycle, "status", lambda _state_dir: state["running"])
    monkeypatch.setattr(lifecycle, "outputs", lambda _running: OUTPUTS)
    return state


def test_up_starts_deploys_and_says_what_to_do_next(laptop: dict[str, Any], rlpipe: Callable[..., Said]) -> None:
    said = rlpipe("local", "up", "--port", "4999")
    assert (said.exit_code, laptop["started"]) == (0, [4999])
    assert "http://127.0.0.1:4999" in said.stdout
    assert "rlpipe submit examples/cartpole --watch" in said.stdout
    assert said.stderr == "✅  rlpipe-local-storage\n"


@pytest.mark.parametrize("options", [(), ("--containers",)])
def test_up_uses_containers_only_when_told_to(
    laptop: dict[str, Any], rlpipe: Callable[..., Said], options: tuple[str, ...]
) -> None:
    assert rlpipe("local", "up", *options).exit_code == 0
    assert laptop["containers"] is bool(options)


@pytest.mark.parametrize("options", [(), ("--keep",)])
def test_up_keeps_what_is_stored_only_when_told_to(
    laptop: dict[str, Any], rlpipe: Callable[..., Said], options: tuple[str, ...]
) -> None:
    assert rlpipe("local", "up", *options).exit_code == 0
    assert laptop["keep"] is bool(options)


def test_up_again_keeps_the_port_and_is_brief(laptop: dict[str, Any], rlpipe: Callable[..., Said]) -> None:
    rlpipe("local", "up", "--port", "4999")
    laptop["seconds"] = {}
    said = rlpipe("local", "up")
    assert (said.exit_code, laptop["started"], len(said.stdout.splitlines())) == (0, [4999], 1)


def test_up_takes_the_usual_port(laptop: dict[str, Any], rlpipe: Callable[..., Said]) -> None:
    rlpipe("local", "up")
    assert laptop["started"] == [4566]


def test_a_failure_names_the_logs(
    laptop: dict[str, Any], rlpipe: Callable[..., Said], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def taken(_state_dir: Path, _port: int, **_options: object) -> Running:
        raise LifecycleError("port: 4566 is taken by another program")

    monkeypatch.setattr(lifecycle, "begin", taken)
    said = rlpipe("local", "up", "--json")
    assert said.exit_code == 1
    assert said.document["error"]["message"] == "port: 4566 is taken by another program"
    assert str(tmp_path / "logs") in said.document["error"]["next_step"]


def test_env_can_be_evaluated(laptop: dict[str, Any], rlpipe: Callable[..., Said]) -> None:
    assert rlpipe("local", "env").exit_code == 1
    rlpipe("local", "up", "--port", "4999")
    lines = rlpipe("local", "env").stdout.splitlines()
    assert lines == [
        "export AWS_ENDPOINT_URL=http://127.0.0.1:4999",
        "export AWS_ACCESS_KEY_ID=test",
        "export AWS_SECRET_ACCESS_KEY=test",
        "export AWS_REGION=us-east-1",
        "export AWS_DEFAULT_REGION=us-east-1",
        "export RLPIPE_INPUT_BUCKET=in",
        "export RLPIPE_ARTIFACTS_BUCKET=out",
        "export RLPIPE_STATE_MACHINE_ARN=arn:x",
        "export RLPIPE_API_URL=http://127.0.0.1:4999/api",
    ]
    document = rlpipe("local", "env", "--json").document
    assert [f"export {name}={value}" for name, value in document.items()] == lines


def test_status_tells_a_script_whether_it_is_up(laptop: dict[str, Any], rlpipe: Callable[..., Said]) -> None:
    assert rlpipe("local", "status").exit_code == 1
    assert rlpipe("local", "status", "--json").document == {"up": False}
    rlpipe("local", "up")
    up = rlpipe("local", "status", "--json")
    assert (up.exit_code, up.document["up"], up.document["pid"]) == (0, True, 123)
    assert rlpipe("local", "down").stdout == "The embedded AWS is down.\n"
    assert rlpipe("local", "down", "--json").document == {"was_up": False}

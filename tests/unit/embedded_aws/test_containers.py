"""Containers in place of processes; what a real engine does with them is in tests/image."""

from pathlib import Path
from typing import Any

import pytest

from embedded_aws import lifecycle
from embedded_aws.processes.containers import job_options


def _container(**declared: Any) -> dict[str, Any]:
    needs = {"MEMORY": "2048", "VCPU": "0.5"} | declared.pop("needs", {})
    return {"resourceRequirements": [{"type": key, "value": value} for key, value in needs.items()], **declared}


def test_a_job_gets_the_limits_of_its_definition() -> None:
    limits = ["--memory", "2048m", "--memory-swap", "2048m", "--cpu-shares", "512"]
    for_gpu = _container(needs={"GPU": "1"})
    assert job_options(_container(), has_gpus=True) == limits
    assert job_options(for_gpu, has_gpus=True) == [*limits, "--gpus", "1"]
    assert job_options(for_gpu, has_gpus=False) == limits


@pytest.mark.parametrize(
    ("declared", "option"),
    [
        ({"linuxParameters": {"initProcessEnabled": True}}, ["--init"]),
        (
            {"linuxParameters": {"tmpfs": [{"containerPath": "/tmp", "size": 256, "mountOptions": ["noexec"]}]}},
            ["--tmpfs", "/tmp:size=256m,noexec"],
        ),
        (
            {
                "volumes": [{"name": "own"}, {"name": "host", "host": {"sourcePath": "/var"}}],
                "mountPoints": [
                    {"sourceVolume": "own", "containerPath": "/scratch"},
                    {"sourceVolume": "host", "containerPath": "/var"},
                ],
            },
            ["--volume", "/scratch"],
        ),
        ({"readonlyRootFilesystem": True}, ["--read-only"]),
        ({"user": "10001"}, ["--user", "10001"]),
    ],
)
def test_a_job_gets_what_its_definition_declares(declared: dict[str, Any], option: list[str]) -> None:
    plain = job_options(_container(), has_gpus=False)
    assert job_options(_container(**declared), has_gpus=False) == [*plain, *option]


@pytest.mark.parametrize(
    ("script", "message"),
    [(None, "there is no `docker` on the path"), ("#!/bin/sh\nexit 1\n", "does not answer `docker info`")],
)
def test_containers_without_an_engine_are_refused(
    script: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if script:
        (tmp_path / "docker").write_text(script)
        (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(lifecycle.LifecycleError, match=message):
        lifecycle.start(tmp_path / "state", 1, containers=True)

"""The whole pipeline on the embedded AWS, whose jobs and endpoints are containers of what `cdk deploy` has built."""

import os
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embedded_aws import lifecycle
from embedded_aws.processes.containers import LABEL
from tests.image.building import Image
from tests.image.conftest import figure
from tests.image.docker import docker, inspect, until
from tests.pipeline.conftest import free_port
from tests.pipeline.laptop import QUICK, Laptop


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, base: str, pip: Path, training: Image, serving: Image
) -> Iterator[lifecycle.Running]:
    """Deployed; the layers of both images are there already."""
    folder = tmp_path_factory.mktemp("laptop")
    (folder / "bin").mkdir()
    (folder / "bin" / "docker").symlink_to(os.environ["IMAGE_ENGINE_CLIENT"])
    options = ["--network=host", f"--secret=id=pip,src={pip}", f"--build-arg=BASE_IMAGE={base}"]
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
        environment.setenv(lifecycle.BUILD_OPTIONS_VARIABLE, shlex.join([*options, "--build-arg=VARIANT=cpu"]))
        started = lifecycle.start(folder / "state", free_port(), containers=True)
        try:
            figure(f"deployed with containers: {lifecycle.deploy(started).seconds}")
            yield started
        finally:
            lifecycle.stop(folder / "state")


def _names(running: lifecycle.Running, *options: str) -> list[str]:
    """The containers that the engine runs for this instance; with `--all` also those that have ended."""
    return docker("ps", "--quiet", "--filter", f"label={LABEL}={running.marker}", *options).stdout.split()


def _containers(running: lifecycle.Running) -> list[dict[str, Any]]:
    return [inspect(name) for name in _names(running)]


def _of(running: lifecycle.Running, script: str) -> list[dict[str, Any]]:
    return [container for container in _containers(running) if any(script in word for word in container["Args"])]


@pytest.fixture(scope="module")
def laptop(running: lifecycle.Running) -> Laptop:
    return Laptop(
        endpoint_url=running.endpoint_url,
        outputs=lifecycle.outputs(running),
        environment=lifecycle.environment(running),
        state_dir=running.state_dir,
    )


def test_a_run_trains_validates_and_serves_in_containers(running: lifecycle.Running, laptop: Laptop) -> None:
    run_id = laptop.drop("contained", QUICK)
    until(lambda: _of(running, "train_rl.py"), what="a container trains")
    [job] = _of(running, "train_rl.py")
    assert job["Config"]["Image"].startswith("000000000000.dkr.ecr.us-east-1.amazonaws.com/")
    assert job["HostConfig"]["Memory"] == 2048 * 2**20
    assert job["HostConfig"]["CpuShares"] == 1024

    assert laptop.end_of(run_id, seconds=240)["status"] == "SUCCEEDED", laptop.outcome(run_id)

    assert set(laptop.predict("contained", [0.0, 0.0, 0.1, 0.0])) == {"action"}
    [endpoint] = _containers(running)
    assert endpoint["Args"][-1] == "serve"
    assert endpoint["Config"]["User"] == "10001:10001"


def test_a_terminated_job_checkpoints_and_exits_with_75(running: lifecycle.Running, laptop: Laptop) -> None:
    run_id = laptop.drop("long", "environment: {id: CartPole-v1}\ntimesteps: 50_000_000\n")
    until(lambda: _of(running, "train_rl.py"), what="a container trains")
    [container] = _of(running, "train_rl.py")
    until(lambda: '"event":"progress"' in docker("logs", container["Id"]).stdout, what="training goes on")
    [job] = laptop.jobs_of(run_id)
    laptop.batch.terminate_job(jobId=job["jobId"], reason="a test")
    laptop.end_of(run_id)
    [ended] = laptop.batch.describe_jobs(jobs=[job["jobId"]])["jobs"]
    assert (ended["statusReason"], ended["attempts"][-1]["container"]["exitCode"]) == ("a test", 75)
    prefix = f"runs/{run_id}/seed-0/checkpoints/"
    assert laptop.s3.list_objects_v2(Bucket=laptop.artifacts_bucket, Prefix=prefix)["KeyCount"] > 0


def test_no_container_outlives_a_killed_instance(running: lifecycle.Running) -> None:
    assert _containers(running)
    os.kill(running.pid, signal.SIGKILL)
    until(lambda: not _names(running, "--all"), what="the containers are gone, and nothing is left of them")

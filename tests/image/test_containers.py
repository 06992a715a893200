"""Batch jobs of the embedded AWS as containers of a real engine."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from embedded_aws.processes.containers import LABEL
from tests.conformance.embedded import Instance
from tests.image.building import Image
from tests.image.docker import docker, until

_SLEEPS = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready'); time.sleep(600)"


@pytest.fixture
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    instance = Instance(tmp_path_factory.mktemp("aws"), "--containers", os.environ["IMAGE_ENGINE_CLIENT"])
    yield instance
    instance.stop()


def _submit(aws: Instance, image: str, code: str, memory: int = 256) -> str:
    needs = [{"type": "MEMORY", "value": str(memory)}, {"type": "VCPU", "value": "1"}]
    container: dict[str, Any] = {"image": image, "resourceRequirements": needs}
    return aws.submit(aws.definition("-c", code, container=container), aws.queue())


def _containers(aws: Instance) -> list[str]:
    """Those of the instance, whether they run or not."""
    return docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}={aws.marker}").stdout.split()


def test_a_job_prints_into_its_log_and_ends_with_its_exit_code(training: Image, aws: Instance) -> None:
    code = "import os, sys; print(os.environ['AWS_BATCH_JOB_ATTEMPT'], os.getuid()); sys.exit(7)"
    job = aws.end(_submit(aws, training.tag, code))
    assert (job["status"], job["container"]["exitCode"]) == ("FAILED", 7)
    assert aws.lines(job) == ["1 10001"]
    assert _containers(aws) == []


def test_a_job_that_takes_more_memory_than_its_own_is_killed(training: Image, aws: Instance) -> None:
    job = aws.end(_submit(aws, training.tag, "held = bytearray(200 * 2**20)", memory=64))
    assert (job["status"], job["container"]["exitCode"]) == ("FAILED", 137)
    assert job["container"]["reason"] == "OutOfMemoryError: Container killed due to memory usage"


def test_a_terminated_job_that_ignores_sigterm_is_killed(training: Image, aws: Instance) -> None:
    job_id = _submit(aws, training.tag, _SLEEPS)
    aws.says(job_id, "ready")
    aws.batch.terminate_job(jobId=job_id, reason="a test")
    job = aws.end(job_id)
    assert (job["statusReason"], job["container"]["exitCode"]) == ("a test", 137)
    assert _containers(aws) == []


def test_an_image_that_was_never_built_cannot_be_pulled(aws: Instance) -> None:
    job = aws.end(_submit(aws, "000000000000.dkr.ecr.us-east-1.amazonaws.com/none:none", ""))
    assert job["container"]["reason"].startswith("CannotPullContainerError")


def test_no_container_outlives_an_instance_that_is_stopped(training: Image, aws: Instance) -> None:
    aws.says(_submit(aws, training.tag, _SLEEPS), "ready")
    assert len(_containers(aws)) == 1
    aws.stop()
    until(lambda: not _containers(aws), what="the containers are gone")

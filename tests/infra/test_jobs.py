import pytest

from config.settings import gpus_of
from contract.outcomes import ExitCode
from tests.infra.conftest import ROOT, Properties, Stage


@pytest.fixture
def definitions(stage: Stage) -> dict[str, Properties]:
    """Job definitions by `TrainCpu`, `TrainGpu`, `Validate` and `PrepareData`."""
    found = stage.resources("AWS::Batch::JobDefinition")
    return {name[len("Jobs") : -8]: definition for name, definition in found.items()}


def test_jobs_have_the_size_and_the_limits_of_the_settings(stage: Stage, definitions: dict[str, Properties]) -> None:
    jobs = stage.settings.jobs
    sizes = {"TrainCpu": jobs.train_cpu, "TrainGpu": jobs.train_gpu, "Validate": jobs.validation}
    for name, job in {**sizes, "PrepareData": jobs.preparation}.items():
        container = definitions[name]["ContainerProperties"]
        size = {item["Type"]: item["Value"] for item in container["ResourceRequirements"]}
        expected = {"VCPU": str(job.vcpus), "MEMORY": str(job.memory_mib), "GPU": str(gpus_of(job))}
        assert size == {key: value for key, value in expected.items() if value != "0"}
        assert definitions[name]["Timeout"] == {"AttemptDurationSeconds": job.timeout_hours * 3600}
        assert definitions[name]["RetryStrategy"]["Attempts"] == job.attempts
        room = {"TMPDIR": "/scratch", "RLPIPE_MEMORY_MIB": str(job.memory_mib)} if name == "PrepareData" else {}
        assert {item["Name"]: item["Value"] for item in container["Environment"]} == {
            **room,
            "RLPIPE_PRICE_PER_HOUR": f"{job.price_per_hour:g}",
            "RLPIPE_STAGE": stage.settings.stage,
            "RLPIPE_METRICS_SECONDS": "1" if stage.settings.stage == "local" else "60",
        }


def test_only_an_interruption_is_retried(definitions: dict[str, Properties]) -> None:
    for definition in definitions.values():
        assert definition["RetryStrategy"]["EvaluateOnExit"] == [
            {"Action": "RETRY", "OnStatusReason": "Host EC2*"},
            {"Action": "RETRY", "OnReason": "CannotPullContainerError:*"},
            {"Action": "RETRY", "OnExitCode": str(ExitCode.CHECKPOINTED.value)},
            {"Action": "EXIT", "OnReason": "*"},
        ]


def test_commands_name_scripts_of_the_image_and_the_parameters_of_the_run(definitions: dict[str, Properties]) -> None:
    train = ["training_image/train_rl.py", "--run", "Ref::run", "--seed", "Ref::seed"]
    assert {name: it["ContainerProperties"]["Command"] for name, it in definitions.items()} == {
        "TrainCpu": train,
        "TrainGpu": train,
        "Validate": ["training_image/validate_rl.py", "--run", "Ref::run"],
        "PrepareData": ["training_image/prepare_data.py", "--run", "Ref::run"],
    }
    for definition in definitions.values():
        assert (ROOT / definition["ContainerProperties"]["Command"][0]).is_file()


def test_a_deployment_leaves_the_revisions_of_running_executions_alone(definitions: dict[str, Properties]) -> None:
    for definition in definitions.values():
        assert definition["ResourceRetentionPolicy"] == {"SkipDeregisterOnUpdate": True}


def test_jobs_can_write_in_tmp_and_nowhere_else(definitions: dict[str, Properties]) -> None:
    for definition in definitions.values():
        container = definition["ContainerProperties"]
        assert container["ReadonlyRootFilesystem"] is True
        assert [tmpfs["ContainerPath"] for tmpfs in container["LinuxParameters"]["Tmpfs"]] == ["/tmp"]


def test_preparing_data_has_room_on_the_instances_volume(definitions: dict[str, Properties]) -> None:
    for name, definition in definitions.items():
        container = definition["ContainerProperties"]
        mounted = [mount["ContainerPath"] for mount in container.get("MountPoints", [])]
        assert mounted == (["/scratch"] if name == "PrepareData" else [])
        for volume in container.get("Volumes", []):
            assert "SourcePath" not in volume.get("Host", {}), "nothing of the host's own is seen"
    dockerfile = (ROOT / "training_image" / "Dockerfile").read_text()
    assert "--owner 10001 --group 10001 /scratch" in dockerfile


def test_sigterm_reaches_the_trainer_and_output_reaches_the_log(definitions: dict[str, Properties]) -> None:
    for definition in definitions.values():
        container = definition["ContainerProperties"]
        assert container["LinuxParameters"]["InitProcessEnabled"] is True
        assert container["LogConfiguration"]["LogDriver"] == "awslogs"
        assert container.get("Privileged", False) is False


def test_all_jobs_run_the_same_image(definitions: dict[str, Properties]) -> None:
    assert len({str(definition["ContainerProperties"]["Image"]) for definition in definitions.values()}) == 1

"""Every stage's file is checked before anything is synthesised."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from config.settings import FOLDER, EcsSettings, Settings, SettingsError, load_settings

Document = dict[str, Any]
Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load the development stage with one value replaced: `load("compute.gpu.max_vcpus", 0)`."""

    def load(path: str, value: object) -> Settings:
        document: Document = yaml.safe_load((FOLDER / "dev.yaml").read_text())
        *parents, key = path.split(".")
        section = document
        for parent in parents:
            section = section.setdefault(parent, {})
        section[key] = value
        (tmp_path / "dev.yaml").write_text(yaml.safe_dump(document))
        return load_settings("dev", tmp_path)

    return load


@pytest.mark.parametrize("stage", ["local", "dev", "prod"])
def test_the_shipped_stages_are_valid(stage: str) -> None:
    assert load_settings(stage).stage == stage


def test_a_laptop_holds_work_back_and_costs_nothing() -> None:
    settings = load_settings("local")
    assert settings.compute.cpu.max_vcpus == 2
    jobs = settings.jobs
    assert [job.vcpus for job in (jobs.train_cpu, jobs.train_gpu, jobs.validation)] == [1, 1, 1]
    assert {job.price_per_hour for job in (jobs.train_cpu, jobs.train_gpu, jobs.validation)} == {0}
    assert not settings.functions.bundle_dependencies


def test_only_production_is_protected() -> None:
    assert [load_settings(stage).protect for stage in ("local", "dev", "prod")] == [False, False, True]


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("nonsense", 1, "nonsense: no such setting"),
        ("compute.gpu.max_vcpu", 1, r"compute\.gpu\.max_vcpu: no such setting"),
        ("stage", "production", "stage: must be 'dev', as the file is named"),
        ("stage", "Dev!", "stage: .*pattern"),
        ("account", "123", r"account: .*\(given: '123'\)"),
        ("region", "eu-west-1", "account and region: give both or neither"),
        ("protect", "yes", r"protect: .*\(given: 'yes'\)"),
        ("log_retention_days", 8, "log_retention_days: .*1, 3, 7"),
        ("log_retention_days", None, "log_retention_days: "),
        ("network.egress", "vpn", "network.egress: .*'public', 'nat' or 'endpoints'"),
        ("network.flow_logs", 1, "network.flow_logs"),
        ("storage.checkpoint_days", 90, "storage.checkpoint_days: .*91"),
        ("images.builder", "kaniko", "images.builder: .*'docker' or 'codebuild'"),
        ("images.training_uri", "docker.io/library/python:3.14", "images.training_uri: .*pattern"),
        ("judge", "no", "judge"),
        ("compute.gpu.machine_image", "al2023", "compute.gpu.machine_image: .*pattern"),
        ("network.availability_zones", 1, "network.availability_zones: .*2"),
        ("network.nat_gateways", 0, "network.nat_gateways: .*1"),
        ("storage.recoverable_days", 0, "storage.recoverable_days"),
        ("storage.access_log_days", 0, "storage.access_log_days"),
        ("compute.volume_gib", 8, "compute.volume_gib: .*30"),
        ("compute.capacity_wait_hours", 0.1, "compute.capacity_wait_hours"),
        ("compute.capacity_wait_hours", 25, "compute.capacity_wait_hours: .*24"),
        ("compute.cpu.max_vcpus", 0, "compute.cpu.max_vcpus: .*1"),
        ("compute.gpu.max_vcpus", 513, "compute.gpu.max_vcpus: .*512"),
        ("compute.gpu.instance_types", [], "compute.gpu.instance_types: .*at least 1"),
        ("compute.gpu.instance_types", ["m7i.large"], "compute.gpu.instance_types: use one of g4dn.xlarge"),
        ("compute.cpu.instance_types", ["g5.xlarge"], "compute.cpu.instance_types.0: use one of c6i.large"),
        ("jobs.train_gpu.vcpus", 0, "jobs.train_gpu.vcpus: .*1"),
        ("jobs.train_gpu.gpus", 0, "jobs.train_gpu.gpus: .*1"),
        ("jobs.train_cpu.gpus", 1, "jobs.train_cpu.gpus: no such setting"),
        ("jobs.train_cpu.memory_mib", 64, "jobs.train_cpu.memory_mib"),
        ("jobs.train_cpu.timeout_hours", 0, "jobs.train_cpu.timeout_hours"),
        ("jobs.train_cpu.attempts", 11, "jobs.train_cpu.attempts: .*10"),
        ("jobs.train_cpu.price_per_hour", -1, "jobs.train_cpu.price_per_hour"),
        ("jobs.train_cpu.price_per_hour", float("nan"), "jobs.train_cpu.price_per_hour: .*finite"),
        ("serving.instance_type", "m5.large", "serving.instance_type: .*'m5.large'"),
        ("functions.bundle_dependencies", "no", "functions.bundle_dependencies"),
        ("alerts.email", "nobody", r"alerts.email: .*\(given: 'nobody'\)"),
    ],
)
def test_a_wrong_value_is_refused_with_its_field(load: Load, path: str, value: object, said: str) -> None:
    with pytest.raises(SettingsError, match=rf"dev\.yaml: {said}"):
        load(path, value)


@pytest.mark.parametrize(
    ("instance_type", "reason"),
    [("p3.2xlarge", "V100"), ("p2.xlarge", "K80"), ("g3.4xlarge", "M60"), ("g3s.xlarge", "M60")],
)
def test_a_retired_family_is_refused_with_the_reason(load: Load, instance_type: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=rf"retired, {reason}.*use one of g4dn\.xlarge.*{instance_type}"):
        load("compute.gpu.instance_types", ["g4dn.xlarge", instance_type])


def test_a_v100_is_refused_with_the_way_to_have_one(load: Load) -> None:
    with pytest.raises(SettingsError, match=r"p3\.2xlarge needs an image of its own, compute\.gpu\.machine_image"):
        load("compute.gpu.instance_types", ["p3.2xlarge"])


V100 = {"machine_image": "ami-0123456789abcdef0", "instance_types": ["p3.2xlarge"], "max_vcpus": 8}


def test_a_v100_needs_a_training_image_of_its_own(load: Load) -> None:
    with pytest.raises(SettingsError, match=r"images\.training_uri: required with .*CUDA 12\.6"):
        load("compute.gpu", V100)


def test_a_v100_and_newer_types_are_never_in_one_environment(load: Load) -> None:
    with pytest.raises(SettingsError, match=r"compute\.gpu\.instance_types: use one of p3\.2xlarge"):
        load("compute.gpu", {**V100, "instance_types": ["p3.2xlarge", "g5.xlarge"]})


def test_what_is_protected_is_not_emptied(load: Load) -> None:
    with pytest.raises(SettingsError, match="empty_on_destroy: not together with protect"):
        load("protect", True)


@pytest.mark.parametrize(
    ("setting", "value", "wanted"),
    [("memory_mib", 40_000, "4 vCPUs, 40000 MiB and 1 GPU"), ("gpus", 2, "4 vCPUs, 14000 MiB and 2 GPU")],
)
def test_a_job_larger_than_every_instance_is_refused(load: Load, setting: str, value: int, wanted: str) -> None:
    with pytest.raises(SettingsError, match=rf"jobs\.train_gpu: {wanted} fit no instance.*g4dn\.2xlarge has 8 vCPUs"):
        load(f"jobs.train_gpu.{setting}", value)


def test_a_job_larger_than_its_environment_is_refused(load: Load) -> None:
    with pytest.raises(SettingsError, match=r"jobs.train_cpu.vcpus: at most the 2 of its compute environment, it is 4"):
        load("compute.cpu.max_vcpus", 2)


def test_a_missing_setting_is_named(tmp_path: Path) -> None:
    document = yaml.safe_load((FOLDER / "dev.yaml").read_text())
    del document["jobs"]["train_gpu"]["timeout_hours"]
    (tmp_path / "dev.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(SettingsError, match=r"dev\.yaml: jobs\.train_gpu\.timeout_hours: required"):
        load_settings("dev", tmp_path)


@pytest.mark.parametrize("text", ["", "- a list", "stage: [", "just text"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "dev.yaml").write_text(text)
    with pytest.raises(SettingsError, match=r"dev\.yaml: "):
        load_settings("dev", tmp_path)


def test_all_problems_are_told_at_once(load: Load) -> None:
    with pytest.raises(SettingsError) as refusal:
        load("compute", {"cpu": {"instance_types": ["c7i.large"], "max_vcpus": 0}, "volume": 1})
    assert len(str(refusal.value).splitlines()) == 3


@pytest.mark.parametrize("stage", ["staging", "", "../dev", "dev.yaml"])
def test_an_unknown_stage_is_refused_with_the_known_ones(stage: str) -> None:
    with pytest.raises(SettingsError, match=r"stage: one of dev, local, prod"):
        load_settings(stage)


def test_every_setting_is_described() -> None:
    def undescribed(model: type[BaseModel], path: str = "") -> list[str]:
        found = []
        for name, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                found += undescribed(field.annotation, f"{path}{name}.")
            elif not field.description:
                found.append(path + name)
        return found

    assert undescribed(Settings) == []


@pytest.mark.parametrize(
    ("ecs", "said"),
    [
        ({"cpu": 300}, "256, 512, 1024, 2048 or 4096"),
        ({"cpu": 256, "memory_mib": 4096}, "512 to 2048 with cpu 256, it is 4096"),
        ({"tasks": 3, "max_tasks": 2}, "at least the 3 of tasks, it is 2"),
    ],
)
def test_tasks_have_a_size_that_fargate_has(ecs: dict[str, int], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        EcsSettings.model_validate(ecs)


def test_a_task_costs_its_vcpu_and_its_memory() -> None:
    assert EcsSettings(cpu=1024, memory_mib=2048).task_hour == pytest.approx(0.04048 + 2 * 0.004445)

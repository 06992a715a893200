import pytest

from tests.infra.conftest import Properties, Stage


@pytest.fixture
def environments(stage: Stage) -> dict[str, Properties]:
    """Compute resources by `CpuSpot`, `CpuOnDemand`, `GpuSpot` and `GpuOnDemand`."""
    found = stage.resources("AWS::Batch::ComputeEnvironment")
    return {name[:-8]: environment["ComputeResources"] for name, environment in found.items()}


def test_each_kind_has_a_spot_and_an_on_demand_environment(environments: dict[str, Properties]) -> None:
    assert {name: (e["Type"], e["AllocationStrategy"]) for name, e in environments.items()} == {
        "CpuSpot": ("SPOT", "SPOT_PRICE_CAPACITY_OPTIMIZED"),
        "CpuOnDemand": ("EC2", "BEST_FIT_PROGRESSIVE"),
        "GpuSpot": ("SPOT", "SPOT_PRICE_CAPACITY_OPTIMIZED"),
        "GpuOnDemand": ("EC2", "BEST_FIT_PROGRESSIVE"),
    }


def test_environments_have_the_caps_of_the_settings_and_cost_nothing_idle(
    stage: Stage, environments: dict[str, Properties]
) -> None:
    compute = stage.settings.compute
    for name, environment in environments.items():
        pool = compute.gpu if name.startswith("Gpu") else compute.cpu
        assert environment["MinvCpus"] == 0
        assert environment["MaxvCpus"] == pool.max_vcpus
        assert environment["InstanceTypes"] == pool.instance_types  # and not Batch's own choice beside them


def test_images_are_named_and_fit_the_instances(environments: dict[str, Properties]) -> None:
    for name, environment in environments.items():
        image = "ECS_AL2023_NVIDIA" if name.startswith("Gpu") else "ECS_AL2023"
        assert environment["Ec2Configuration"] == [{"ImageType": image}]


def test_a_change_of_the_launch_template_reaches_the_instances(environments: dict[str, Properties]) -> None:
    for environment in environments.values():
        template, attribute = environment["LaunchTemplate"]["Version"]["Fn::GetAtt"]
        assert template == environment["LaunchTemplate"]["LaunchTemplateId"]["Ref"]
        assert attribute == "LatestVersionNumber"


def test_environments_are_updated_in_place_without_killing_jobs(stage: Stage) -> None:
    for environment in stage.resources("AWS::Batch::ComputeEnvironment").values():
        assert environment["ReplaceComputeEnvironment"] is False
        assert environment["UpdatePolicy"]["TerminateJobsOnUpdate"] is False
        assert "ServiceRole" not in environment  # only with the service-linked role can Batch update in place


def test_instances_demand_imdsv2_and_encrypt_their_disk(stage: Stage) -> None:
    data = stage.one("AWS::EC2::LaunchTemplate")["LaunchTemplateData"]
    assert data["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
    [device] = data["BlockDeviceMappings"]
    assert device["Ebs"] == {"Encrypted": True, "VolumeType": "gp3", "VolumeSize": stage.settings.compute.volume_gib}


def test_spot_queues_try_spot_first_and_the_others_never(stage: Stage) -> None:
    order = {
        name[:-8]: [
            (entry["Order"], entry["ComputeEnvironment"]["Fn::GetAtt"][0][:-8])
            for entry in queue["ComputeEnvironmentOrder"]
        ]
        for name, queue in stage.resources("AWS::Batch::JobQueue").items()
    }
    assert order == {
        "CpuQueue": [(1, "CpuOnDemand")],
        "CpuSpotQueue": [(1, "CpuSpot"), (2, "CpuOnDemand")],
        "GpuQueue": [(1, "GpuOnDemand")],
        "GpuSpotQueue": [(1, "GpuSpot"), (2, "GpuOnDemand")],
    }


def test_no_job_waits_for_ever(stage: Stage) -> None:
    for queue in stage.resources("AWS::Batch::JobQueue").values():
        limits = {action["Reason"]: action for action in queue["JobStateTimeLimitActions"]}
        assert {reason: limit["MaxTimeSeconds"] for reason, limit in limits.items()} == {
            "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY": stage.settings.compute.capacity_wait_hours * 3600,
            "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE": 600,
            "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT": 600,
        }
        assert {(limit["Action"], limit["State"]) for limit in limits.values()} == {("CANCEL", "RUNNABLE")}

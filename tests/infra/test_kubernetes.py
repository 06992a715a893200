"""Jobs on an EKS cluster that is there already: the same job contract, in pods."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from stacks.constructs.kubernetes import with_pod_overrides
from tests.infra.conftest import Stage, Syntheses, statements
from tests.infra.variants import CLUSTER, ECR, VOLTA, changed


@pytest.fixture(scope="module")
def kubernetes(syntheses: Syntheses) -> Stage:
    return syntheses["kubernetes"]


def test_the_environments_join_the_cluster_that_is_named(kubernetes: Stage) -> None:
    environments = kubernetes.resources("AWS::Batch::ComputeEnvironment")
    assert len(environments) == 4
    for name, environment in environments.items():
        assert environment["EksConfiguration"]["KubernetesNamespace"] == "learning"
        assert "cluster/shared" in json.dumps(environment["EksConfiguration"]["EksClusterArn"])
        compute = environment["ComputeResources"]
        image = "EKS_AL2023_NVIDIA" if name.startswith("Gpu") else "EKS_AL2023"
        assert compute["Ec2Configuration"] == [{"ImageType": image}]
        assert compute["Subnets"] == CLUSTER["subnet_ids"]
        assert compute["SecurityGroupIds"] == [CLUSTER["security_group_id"]]
        assert compute["MinvCpus"] == 0


def test_its_caps_are_those_of_ecs(kubernetes: Stage, stages: dict[str, Stage]) -> None:
    def caps(stage: Stage) -> dict[str, Any]:
        return {
            name[:-8]: (it["ComputeResources"]["MaxvCpus"], it["ComputeResources"]["Type"], it["UpdatePolicy"])
            for name, it in stage.resources("AWS::Batch::ComputeEnvironment").items()
        }

    assert caps(kubernetes) == caps(stages["dev"])


def test_instances_may_join_and_pods_have_the_roles_of_their_jobs(kubernetes: Stage) -> None:
    entry = kubernetes.one("AWS::EKS::AccessEntry")
    assert (entry["ClusterName"], entry["Type"]) == ("shared", "EC2_LINUX")
    associations = kubernetes.resources("AWS::EKS::PodIdentityAssociation").values()
    accounts = {it["ServiceAccount"]: it["RoleArn"]["Fn::GetAtt"][0] for it in associations}
    used = {
        definition["EksProperties"]["PodProperties"]["ServiceAccountName"]
        for definition in kubernetes.resources("AWS::Batch::JobDefinition").values()
    }
    assert used == set(accounts)
    roles = kubernetes.resources("AWS::IAM::Role")
    for role in accounts.values():
        [trust] = statements({"PolicyDocument": roles[role]["AssumeRolePolicyDocument"]})
        assert trust["Principal"] == {"Service": "pods.eks.amazonaws.com"}
        assert set(trust["Action"]) == {"sts:AssumeRole", "sts:TagSession"}


def test_pods_have_the_command_the_size_and_the_limits_of_their_twins(
    kubernetes: Stage, stages: dict[str, Stage]
) -> None:
    twins = {name[:-8]: it for name, it in stages["dev"].resources("AWS::Batch::JobDefinition").items()}
    for name, definition in kubernetes.resources("AWS::Batch::JobDefinition").items():
        twin, [container] = twins[name[:-8]], definition["EksProperties"]["PodProperties"]["Containers"]
        command = twin["ContainerProperties"]["Command"]
        assert container["Args"] == [
            f"$(RLPIPE_{word[5:].upper()})" if word.startswith("Ref::") else word for word in command
        ]
        assert definition["RetryStrategy"] == twin["RetryStrategy"]
        assert definition["Timeout"] == twin["Timeout"]
        size = {it["Type"]: it["Value"] for it in twin["ContainerProperties"]["ResourceRequirements"]}
        limits = container["Resources"]["Limits"]
        assert str(limits["cpu"]) == size["VCPU"]
        assert limits["memory"] == f"{size['MEMORY']}Mi"
        assert str(limits.get("nvidia.com/gpu", "")) == size.get("GPU", "")
        assert container["Resources"]["Requests"] == limits
        assert container["Env"] == [
            {"Name": it["Name"], "Value": it["Value"]} for it in twin["ContainerProperties"]["Environment"]
        ]


def test_pods_are_locked_up_as_containers_are(kubernetes: Stage) -> None:
    for definition in kubernetes.resources("AWS::Batch::JobDefinition").values():
        pod = definition["EksProperties"]["PodProperties"]
        assert pod["HostNetwork"] is False
        [container] = pod["Containers"]
        security = container["SecurityContext"]
        assert security["ReadOnlyRootFilesystem"] is True
        assert security["RunAsNonRoot"] is True
        assert security["Privileged"] is False
        volumes = {it["Name"]: it["EmptyDir"] for it in pod["Volumes"]}
        mounted = {it["MountPath"]: volumes.pop(it["Name"]) for it in container["VolumeMounts"]}
        assert mounted.pop("/tmp") == {"Medium": "Memory", "SizeLimit": "256Mi"}
        temporary = {it["Value"] for it in container["Env"] if it["Name"] == "TMPDIR"}
        assert mounted.keys() == temporary, "room on the instance's volume for the job that is told of it"
        assert not volumes


def test_the_state_machine_gives_every_pod_its_parameters(kubernetes: Stage, stages: dict[str, Stage]) -> None:
    machine = json.loads(kubernetes.one("AWS::StepFunctions::StateMachine")["DefinitionString"])
    jobs = list(_jobs(machine))
    assert len(jobs) == len(
        list(_jobs(json.loads(stages["dev"].one("AWS::StepFunctions::StateMachine")["DefinitionString"])))
    )
    for arguments in jobs:
        [container] = arguments["EksPropertiesOverride"]["PodProperties"]["Containers"]
        assert container["Name"] == "job"
        given = {it["Name"]: it["Value"] for it in container["Env"]}
        assert given == {f"RLPIPE_{name.upper()}": value for name, value in arguments["Parameters"].items()}


def test_nothing_else_of_the_state_machine_changes() -> None:
    document = {"States": {"A": {"Type": "Pass", "Output": {"x": [1, {"Resource": "other"}]}}}}
    assert with_pod_overrides(document) == document


@pytest.mark.parametrize("namespace", ["default", "kube-system", "Upper", ""])
def test_a_namespace_that_batch_refuses_is_refused_before(namespace: str) -> None:
    with pytest.raises(ValidationError, match="namespace"):
        changed({"compute": {"kubernetes": {**CLUSTER, "namespace": namespace}}})


def test_v100s_stay_with_ecs() -> None:
    compute = {"gpu": VOLTA, "kubernetes": CLUSTER}
    with pytest.raises(ValidationError, match=r"machine_image: not together with compute\.kubernetes"):
        changed({"compute": compute, "images": {"training_uri": f"{ECR}/training:cuda12.6"}})


def _jobs(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get("Resource") == "arn:aws:states:::batch:submitJob.sync":
            yield value["Arguments"]
        for item in value.values():
            yield from _jobs(item)
    if isinstance(value, list):
        for item in value:
            yield from _jobs(item)

"""Jobs on an EKS cluster of the account's own: AWS Batch places pods there in place of ECS tasks.

A pod has no `Ref::` parameters, so those of a command become environment variables, which Kubernetes expands and
which the state machine gives to each job. https://docs.aws.amazon.com/batch/latest/userguide/eks.html
"""

from collections.abc import Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_batch as batch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_eks as eks
from aws_cdk import aws_iam as iam
from constructs import Construct

from config.settings import JobSettings, KubernetesSettings, gpus_of

CONTAINER = "job"
_PARAMETER = "Ref::"
_USER = 10001
"""As the Dockerfile has it: a pod that must not run as root has to be told by number."""


class Cluster(Construct):
    """The cluster as Batch's environments need it, and the role of the instances that join it."""

    def __init__(self, scope: Construct, construct_id: str, *, settings: KubernetesSettings) -> None:
        super().__init__(scope, construct_id)
        self.namespace = settings.namespace
        self.cluster = eks.Cluster.from_cluster_attributes(self, "Cluster", cluster_name=settings.cluster_name)
        self.vpc = ec2.Vpc.from_vpc_attributes(
            self, "Vpc", vpc_id=settings.vpc_id, availability_zones=[cdk.Fn.select(0, cdk.Fn.get_azs())]
        )
        self.subnets = ec2.SubnetSelection(
            subnets=[
                # Nothing here asks for the route table; without one the CDK warns at each synthesis.
                ec2.Subnet.from_subnet_attributes(self, name, subnet_id=name, route_table_id="unknown")
                for name in settings.subnet_ids
            ]
        )
        self.security_group = ec2.SecurityGroup.from_security_group_id(
            self, "SecurityGroup", settings.security_group_id, mutable=False
        )
        self.instance_role = iam.Role(
            self,
            "InstanceRole",
            description="What the kubelet of an instance may do; pods have roles of their own.",
            assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
            managed_policies=[
                iam.ManagedPolicy.from_aws_managed_policy_name(name)
                for name in ("AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy", "AmazonEC2ContainerRegistryReadOnly")
            ],
        )
        # Lets the instances join, without an edit of the cluster's aws-auth map.
        eks.CfnAccessEntry(
            self,
            "Instances",
            cluster_name=settings.cluster_name,
            principal_arn=self.instance_role.role_arn,
            type="EC2_LINUX",
        )


def service_account(role: str) -> str:
    """The Kubernetes service account of the pods that have a role: `rlpipe-train` for `TrainRole`."""
    return f"rlpipe-{role.removesuffix('Role').lower()}"


def pod_role(scope: Construct, construct_id: str, *, settings: KubernetesSettings, service_account: str) -> iam.Role:
    """The role of the pods of one service account, handed out by EKS Pod Identity."""
    principal = iam.ServicePrincipal("pods.eks.amazonaws.com")
    role = iam.Role(scope, construct_id, assumed_by=iam.SessionTagsPrincipal(principal))
    eks.CfnPodIdentityAssociation(
        scope,
        f"{construct_id}Pods",
        cluster_name=settings.cluster_name,
        namespace=settings.namespace,
        service_account=service_account,
        role_arn=role.role_arn,
    )
    return role


def pod_definition(
    scope: Construct,
    construct_id: str,
    *,
    job: JobSettings,
    image_uri: str,
    command: Sequence[str],
    environment: dict[str, str],
    service_account: str,
    retry_strategies: Sequence[batch.RetryStrategy],
    scratch: str | None = None,
) -> batch.EksJobDefinition:
    """The definition of a job of one pod, with the limits that its twin on ECS has.

    :param scratch: where the pod gets room on the instance's volume.
    """
    memory, gpus = cdk.Size.mebibytes(job.memory_mib), gpus_of(job) or None
    container = batch.EksContainerDefinition(
        scope,
        f"{construct_id}Pod",
        name=CONTAINER,
        image=ecs.ContainerImage.from_registry(image_uri),  # the instances' own role pulls it
        args=[_expanded(word) for word in command],
        env=environment,
        cpu_limit=job.vcpus,
        cpu_reservation=job.vcpus,
        memory_limit=memory,
        memory_reservation=memory,
        gpu_limit=gpus,
        gpu_reservation=gpus,
        readonly_root_filesystem=True,
        privileged=False,
        run_as_root=False,
        run_as_user=_USER,
        run_as_group=_USER,
        volumes=[
            batch.EksVolume.empty_dir(
                name="tmp",
                mount_path="/tmp",  # noqa: S108
                medium=batch.EmptyDirMediumType.MEMORY,
                size_limit=cdk.Size.mebibytes(256),
            ),
            *([batch.EksVolume.empty_dir(name="scratch", mount_path=scratch)] if scratch else []),
        ],
    )
    return batch.EksJobDefinition(
        scope,
        construct_id,
        container=container,
        service_account=service_account,
        use_host_network=False,
        timeout=cdk.Duration.seconds(round(job.timeout_hours * 3600)),
        retry_attempts=job.attempts,
        retry_strategies=retry_strategies,
        skip_deregister_on_update=True,
    )


def with_pod_overrides(definition: dict[str, Any]) -> dict[str, Any]:
    """The state machine with every job's parameters given to its container as environment variables too.

    The parameters stay: the events of a job tell by them which run it belongs to.
    """
    return {name: _overridden(value) for name, value in definition.items()}


def _overridden(value: Any) -> Any:
    if isinstance(value, list):
        return [_overridden(item) for item in value]
    if not isinstance(value, dict):
        return value
    changed = {name: _overridden(item) for name, item in value.items()}
    if value.get("Resource") == "arn:aws:states:::batch:submitJob.sync":
        variables = [
            {"Name": _variable(name), "Value": given} for name, given in value["Arguments"]["Parameters"].items()
        ]
        container = {"Name": CONTAINER, "Env": variables}
        changed["Arguments"] |= {"EksPropertiesOverride": {"PodProperties": {"Containers": [container]}}}
    return changed


def _expanded(word: str) -> str:
    return f"$({_variable(word.removeprefix(_PARAMETER))})" if word.startswith(_PARAMETER) else word


def _variable(parameter: str) -> str:
    return f"RLPIPE_{parameter.upper()}"

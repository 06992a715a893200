"""Where jobs run: AWS Batch on EC2. Instances exist only while there are jobs for them."""

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_batch as batch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from config.settings import Settings
from stacks.constructs.base import RoomStack
from stacks.constructs.kubernetes import Cluster
from stacks.constructs.pool import Pool


class ComputeStack(RoomStack):
    """A pool of CPU instances and a pool of GPU instances, each with two queues."""

    def __init__(self, scope: Construct, *, settings: Settings, vpc: ec2.IVpc, subnets: ec2.SubnetSelection) -> None:
        super().__init__(scope, "compute", settings=settings, description="Batch environments and queues.")
        kubernetes = settings.compute.kubernetes
        cluster = Cluster(self, "Kubernetes", settings=kubernetes) if kubernetes else None
        launch_template = ec2.LaunchTemplate(
            self,
            "LaunchTemplate",
            require_imdsv2=True,
            # Containers have a role of their own; one hop keeps them from the instance's.
            http_put_response_hop_limit=1,
            block_devices=[
                ec2.BlockDevice(
                    device_name="/dev/xvda",
                    volume=ec2.BlockDeviceVolume.ebs(
                        settings.compute.volume_gib, volume_type=ec2.EbsDeviceVolumeType.GP3, encrypted=True
                    ),
                )
            ],
        )
        # A stack's tags do not reach what Batch launches, and instances are most of the bill.
        for name, value in self.tags.tag_values().items():
            cdk.Tags.of(launch_template).add(name, value)
        shared: dict[str, Any] = {
            "capacity_wait": cdk.Duration.minutes(round(settings.compute.capacity_wait_hours * 60)),
            "launch_template": launch_template,
            "cluster": cluster,
            "vpc": cluster.vpc if cluster else vpc,
            "subnets": cluster.subnets if cluster else subnets,
            "security_group": cluster.security_group if cluster else self._security_group(vpc),
            "instance_role": cluster.instance_role if cluster else self._instance_role(),
        }
        self.cpu = Pool(
            self,
            "Cpu",
            instance_types=settings.compute.cpu.instance_types,
            max_vcpus=settings.compute.cpu.max_vcpus,
            image=batch.EksMachineImage(image_type=batch.EksMachineImageType.EKS_AL2023)
            if cluster
            else batch.EcsMachineImage(image_type=batch.EcsMachineImageType.ECS_AL2023),
            **shared,
        )
        self.gpu = Pool(
            self,
            "Gpu",
            instance_types=settings.compute.gpu.instance_types,
            max_vcpus=settings.compute.gpu.max_vcpus,
            image=batch.EksMachineImage(image_type=batch.EksMachineImageType.EKS_AL2023_NVIDIA)
            if cluster
            else self._gpu_image(settings.compute.gpu.machine_image),
            **shared,
        )

    def _security_group(self, vpc: ec2.IVpc) -> ec2.ISecurityGroup:
        group = ec2.SecurityGroup(
            self,
            "Instances",
            vpc=vpc,
            description="Instances of training jobs: HTTPS out, nothing in.",
            allow_all_outbound=False,
        )
        group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "AWS services")
        return group

    def _instance_role(self) -> iam.IRole:
        return iam.Role(
            self,
            "InstanceRole",
            description="What the ECS agent of an instance may do; containers have roles of their own.",
            assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
            managed_policies=[
                iam.ManagedPolicy.from_aws_managed_policy_name("service-role/AmazonEC2ContainerServiceforEC2Role")
            ],
        )

    def _gpu_image(self, machine_image: str | None) -> batch.EcsMachineImage:
        types = batch.EcsMachineImageType
        if machine_image is None:
            return batch.EcsMachineImage(image_type=types.ECS_AL2023_NVIDIA)
        # Batch no longer provides images of this type, but still tells by it which instances an own image is for.
        own = ec2.MachineImage.generic_linux({self.region: machine_image})
        return batch.EcsMachineImage(image_type=types.ECS_AL2_NVIDIA, image=own)

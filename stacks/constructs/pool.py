"""Instances of one kind, on Spot and On-Demand, and the queues in front of them."""

from collections.abc import Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_batch as batch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from stacks.constructs.kubernetes import Cluster


class Pool(Construct):
    """Two compute environments and two queues.

    Attributes:
        queue: On-Demand only, for a run that must not be interrupted.
        spot_queue: Spot first; On-Demand when Spot has no capacity.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        instance_types: Sequence[str],
        max_vcpus: int,
        image: batch.EcsMachineImage | batch.EksMachineImage,
        capacity_wait: cdk.Duration,
        vpc: ec2.IVpc,
        subnets: ec2.SubnetSelection,
        security_group: ec2.ISecurityGroup,
        launch_template: ec2.LaunchTemplate,
        instance_role: iam.IRole,
        cluster: Cluster | None = None,
    ) -> None:
        """`cluster` is the EKS cluster that the instances join, with an image of EKS; left out, ECS."""
        super().__init__(scope, construct_id)

        def environment(name: str, *, spot: bool, strategy: batch.AllocationStrategy) -> batch.IComputeEnvironment:
            properties: dict[str, Any] = {
                "vpc": vpc,
                "vpc_subnets": subnets,
                "security_groups": [security_group],
                "spot": spot,
                "allocation_strategy": strategy,
                "images": [image],
                "instance_types": [ec2.InstanceType(name) for name in instance_types],
                "use_optimal_instance_classes": False,  # left out, CDK adds Batch's own choice to ours
                "minv_cpus": 0,
                "maxv_cpus": max_vcpus,
                "launch_template": launch_template,
                "instance_role": instance_role,
                # Together these let Batch change an environment in place, waiting for the jobs that run on it.
                "replace_compute_environment": False,
                "update_to_latest_image_version": True,
                "terminate_on_update": False,
                "update_timeout": cdk.Duration.minutes(60),
            }
            created: batch.IComputeEnvironment
            if cluster:
                created = batch.ManagedEc2EksComputeEnvironment(
                    self,
                    name,
                    eks_cluster=cluster.cluster,
                    kubernetes_namespace=cluster.namespace,
                    **properties,
                )
            else:
                created = batch.ManagedEc2EcsComputeEnvironment(self, name, **properties)
            resource = created.node.default_child
            assert isinstance(resource, batch.CfnComputeEnvironment)
            # Without it Batch takes the template's default version, and a change to it never reaches an instance.
            resource.add_property_override(
                "ComputeResources.LaunchTemplate.Version", launch_template.latest_version_number
            )
            return created

        spot = environment("Spot", spot=True, strategy=batch.AllocationStrategy.SPOT_PRICE_CAPACITY_OPTIMIZED)
        on_demand = environment("OnDemand", spot=False, strategy=batch.AllocationStrategy.BEST_FIT_PROGRESSIVE)

        def queue(name: str, priority: int, *environments: batch.IComputeEnvironment) -> batch.IJobQueue:
            return batch.JobQueue(
                self,
                name,
                priority=priority,
                compute_environments=[
                    batch.OrderedComputeEnvironment(compute_environment=environment, order=order)
                    for order, environment in enumerate(environments, start=1)
                ],
                job_state_time_limit_actions=_unstick(capacity_wait),
            )

        # Whoever asked for On-Demand is served before whoever only falls back to it.
        self.queue = queue("Queue", 20, on_demand)
        self.spot_queue = queue("SpotQueue", 10, spot, on_demand)


def _unstick(capacity_wait: cdk.Duration) -> list[batch.JobStateTimeLimitAction]:
    """Cancel what would wait in RUNNABLE for ever; the two misfits cannot be cured by waiting."""
    reasons = batch.JobStateTimeLimitActionsReason
    return [
        batch.JobStateTimeLimitAction(
            action=batch.JobStateTimeLimitActionsAction.CANCEL,
            state=batch.JobStateTimeLimitActionsState.RUNNABLE,
            reason=reason,
            max_time=max_time,
        )
        for reason, max_time in (
            (reasons.INSUFFICIENT_INSTANCE_CAPACITY, capacity_wait),
            (reasons.COMPUTE_ENVIRONMENT_MAX_RESOURCE, cdk.Duration.minutes(10)),
            (reasons.JOB_RESOURCE_REQUIREMENT, cdk.Duration.minutes(10)),
        )
    ]

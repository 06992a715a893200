"""What services on ECS are made of: a cluster, an internal load balancer, and the roles of their tasks.

The services belong to the pipeline, as endpoints of SageMaker do.
"""

from aws_cdk import Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from config.settings import EcsSettings, Settings
from contract.layout import MODEL_ARCHIVE
from contract.services import ServicesPlace
from stacks.constructs.base import ADDRESSES, allow, log_group

_PORT = 8080
"""Of a container."""


class Services(Construct):
    """Where services are put; those of all policies are behind one load balancer, which tells them by a header."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        ecs_settings: EcsSettings,
        vpc: ec2.IVpc,
        subnets: ec2.SubnetSelection,
        repository: ecr.IRepository,
        artifacts_bucket: s3.IBucket,
    ) -> None:
        super().__init__(scope, construct_id)
        self.vpc, self.subnets = vpc, subnets
        cluster = ecs.CfnCluster(self, "Cluster")
        logs = log_group(self, "Log", settings=settings)
        callers = ec2.Peer.ipv4(ADDRESSES)
        at_balancer = ec2.SecurityGroup(
            self, "BalancerGroup", vpc=vpc, description="Asked from the network itself.", allow_all_outbound=False
        )
        at_balancer.add_ingress_rule(callers, ec2.Port.tcp(80), "Callers in the network")
        at_tasks = ec2.SecurityGroup(self, "TaskGroup", vpc=vpc, description="Asked by the load balancer alone.")
        at_tasks.add_ingress_rule(at_balancer, ec2.Port.tcp(_PORT), "The load balancer")
        at_balancer.add_egress_rule(at_tasks, ec2.Port.tcp(_PORT), "Tasks")
        self.balancer = elb.ApplicationLoadBalancer(
            self,
            "Balancer",
            vpc=vpc,
            vpc_subnets=subnets,
            internet_facing=False,
            security_group=at_balancer,
            drop_invalid_header_fields=True,
            deletion_protection=settings.protect,
        )
        listener = self.balancer.add_listener(
            "Http",
            port=80,
            protocol=elb.ApplicationProtocol.HTTP,
            open=False,
            default_action=elb.ListenerAction.fixed_response(
                404, content_type="application/json", message_body='{"message":"no such endpoint"}'
            ),
        )
        by_tasks = iam.ServicePrincipal("ecs-tasks.amazonaws.com")
        execution = iam.Role(
            self,
            "ExecutionRole",
            description="What ECS may do for a task: pull its image and write its log.",
            assumed_by=by_tasks,
        )
        repository.grant_pull(execution)
        logs.grant_write(execution)
        task = iam.Role(self, "TaskRole", description="What a task may do: read its policy.", assumed_by=by_tasks)
        allow(task, ["s3:GetObject"], artifacts_bucket.arn_for_objects(f"runs/*/{MODEL_ARCHIVE}"))
        balancing = iam.Role(
            self,
            "BalancingRole",
            description="What ECS may do with the load balancer: move requests from one policy to the next.",
            assumed_by=iam.ServicePrincipal("ecs.amazonaws.com"),
            managed_policies=[
                iam.ManagedPolicy.from_aws_managed_policy_name("AmazonECSInfrastructureRolePolicyForLoadBalancers")
            ],
        )
        self.cluster_name = cluster.ref
        self.listener_arn = listener.listener_arn
        self.url = f"http://{self.balancer.load_balancer_dns_name}"
        self.task_roles: list[iam.IRole] = [execution, task]
        self.balancing_role: iam.IRole = balancing
        stack = Stack.of(self)

        def arn(service: str, resource: str, name: str) -> str:
            return stack.format_arn(service=service, resource=resource, resource_name=name)

        self.services_arn = arn("ecs", "service", f"{cluster.ref}/*")
        self.groups_arn = arn("elasticloadbalancing", "targetgroup", "rlpipe-*/*")
        self.rules_arn = arn("elasticloadbalancing", "listener-rule", f"{self.balancer.load_balancer_full_name}/*")
        self.place = ServicesPlace(
            cluster=cluster.ref,
            listener_arn=listener.listener_arn,
            vpc=vpc.vpc_id,
            subnets=vpc.select_subnets(subnet_group_name=subnets.subnet_group_name).subnet_ids,
            # Where there is neither a NAT nor an endpoint, an address of its own is the way to the image.
            public=settings.network.egress == "public",
            security_group=at_tasks.security_group_id,
            log_group=logs.log_group_name,
            execution_role_arn=execution.role_arn,
            task_role_arn=task.role_arn,
            balancing_role_arn=balancing.role_arn,
            cpu=ecs_settings.cpu,
            memory_mib=ecs_settings.memory_mib,
            tasks=ecs_settings.tasks,
            max_tasks=ecs_settings.max_tasks or ecs_settings.tasks,
            cpu_percent=ecs_settings.cpu_percent,
        )

    @property
    def named(self) -> dict[str, str]:
        """Where services are, for who deletes them."""
        return {"Cluster": self.cluster_name, "Listener": self.listener_arn}

    @property
    def deleting(self) -> dict[str, list[str]]:
        """What it takes to delete services, by resource."""
        return {
            self.services_arn: ["ecs:DeleteService"],
            self.rules_arn: ["elasticloadbalancing:DeleteRule"],
            self.groups_arn: ["elasticloadbalancing:DeleteTargetGroup"],
        }

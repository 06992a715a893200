"""Where the instances of training jobs live."""

import aws_cdk as cdk
import jsii
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from config.settings import Settings
from stacks.constructs.base import ADDRESSES, RoomStack, log_group

JOBS_SUBNETS = "jobs"

_SUBNETS = {
    "public": ec2.SubnetType.PUBLIC,
    "nat": ec2.SubnetType.PRIVATE_WITH_EGRESS,
    "endpoints": ec2.SubnetType.PRIVATE_ISOLATED,
}

# What an instance of Batch calls besides S3: the ECS agent, image pulls and the logs of its containers.
_NEEDED_BY_INSTANCES = {
    "Ecs": ec2.InterfaceVpcEndpointAwsService.ECS,
    "EcsAgent": ec2.InterfaceVpcEndpointAwsService.ECS_AGENT,
    "EcsTelemetry": ec2.InterfaceVpcEndpointAwsService.ECS_TELEMETRY,
    "EcrApi": ec2.InterfaceVpcEndpointAwsService.ECR,
    "EcrDocker": ec2.InterfaceVpcEndpointAwsService.ECR_DOCKER,
    "Logs": ec2.InterfaceVpcEndpointAwsService.CLOUDWATCH_LOGS,
}


class NetworkStack(RoomStack):
    """A VPC that jobs reach AWS from and that nothing reaches into."""

    def __init__(self, scope: Construct, *, settings: Settings) -> None:
        self._zones = settings.network.availability_zones
        super().__init__(scope, "network", settings=settings, description="The network of training jobs.")
        egress = settings.network.egress
        nat = egress == "nat"
        jobs = ec2.SubnetConfiguration(name=JOBS_SUBNETS, subnet_type=_SUBNETS[egress], cidr_mask=20)
        gateways = ec2.SubnetConfiguration(name="nat", subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=28)
        vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr(ADDRESSES),
            max_azs=settings.network.availability_zones,
            nat_gateways=settings.network.nat_gateways if nat else 0,
            subnet_configuration=[gateways, jobs] if nat else [jobs],
            # Emptying the default security group takes a custom-resource Lambda; nothing uses that group.
            restrict_default_security_group=False,
        )
        # Free, and it carries the image layers, the checkpoints and the models.
        vpc.add_gateway_endpoint("S3", service=ec2.GatewayVpcEndpointAwsService.S3)
        if egress == "endpoints":
            self._add_endpoints(vpc)
        if settings.network.flow_logs:
            vpc.add_flow_log(
                "FlowLog",
                destination=ec2.FlowLogDestination.to_cloud_watch_logs(log_group(self, "FlowLogs", settings=settings)),
            )
        self.vpc: ec2.IVpc = vpc
        self.subnets = ec2.SubnetSelection(subnet_group_name=JOBS_SUBNETS)

    def _add_endpoints(self, vpc: ec2.Vpc) -> None:
        """Whatever is in this network may call them, and nothing else can."""
        group = ec2.SecurityGroup(
            self, "Endpoints", vpc=vpc, description="HTTPS from the network itself.", allow_all_outbound=False
        )
        group.add_ingress_rule(ec2.Peer.ipv4(ADDRESSES), ec2.Port.tcp(443), "Instances of training jobs")
        for name, service in _NEEDED_BY_INSTANCES.items():
            vpc.add_interface_endpoint(
                name,
                service=service,
                subnets=ec2.SubnetSelection(subnet_group_name=JOBS_SUBNETS),
                security_groups=[group],
                open=False,
            )

    @property
    @jsii.member(jsii_name="availabilityZones")
    def availability_zones(self) -> list[str]:
        """The zones by position. By name, which is the CDK's way where the account is given, they would have to be
        looked up in it at synthesis."""
        return [cdk.Fn.select(index, cdk.Fn.get_azs()) for index in range(self._zones)]

"""Where the instances of training jobs live."""

import aws_cdk as cdk
import jsii
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from config.settings import Settings
from stacks.constructs.base import RoomStack

JOBS_SUBNETS = "jobs"


class NetworkStack(RoomStack):
    """A VPC that jobs reach AWS from and that nothing reaches into."""

    def __init__(self, scope: Construct, *, settings: Settings) -> None:
        self._zones = settings.network.availability_zones
        super().__init__(scope, "network", settings=settings, description="The network of training jobs.")
        nat = settings.network.egress == "nat"
        jobs = ec2.SubnetConfiguration(
            name=JOBS_SUBNETS,
            subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS if nat else ec2.SubnetType.PUBLIC,
            cidr_mask=20,
        )
        gateways = ec2.SubnetConfiguration(name="nat", subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=28)
        vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr("10.40.0.0/16"),
            max_azs=settings.network.availability_zones,
            nat_gateways=settings.network.nat_gateways if nat else 0,
            subnet_configuration=[gateways, jobs] if nat else [jobs],
            # Emptying the default security group takes a custom-resource Lambda; nothing uses that group.
            restrict_default_security_group=False,
        )
        # Free, and it carries the image layers, the checkpoints and the models.
        vpc.add_gateway_endpoint("S3", service=ec2.GatewayVpcEndpointAwsService.S3)
        self.vpc: ec2.IVpc = vpc
        self.subnets = ec2.SubnetSelection(subnet_group_name=JOBS_SUBNETS)

    @property
    @jsii.member(jsii_name="availabilityZones")
    def availability_zones(self) -> list[str]:
        """The zones by position. By name, which is the CDK's way where the account is given, they would have to be
        looked up in it at synthesis."""
        return [cdk.Fn.select(index, cdk.Fn.get_azs()) for index in range(self._zones)]

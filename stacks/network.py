"""Where the instances of training jobs live."""

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from config.settings import Settings
from stacks.constructs.base import RoomStack

JOBS_SUBNETS = "jobs"


class NetworkStack(RoomStack):
    """A VPC that jobs reach AWS from and that nothing reaches into."""

    def __init__(self, scope: Construct, *, settings: Settings) -> None:
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
            # By position, not by name: names would be looked up in the account at synthesis.
            availability_zones=[cdk.Fn.select(i, cdk.Fn.get_azs()) for i in range(settings.network.availability_zones)],
            nat_gateways=settings.network.nat_gateways if nat else 0,
            subnet_configuration=[gateways, jobs] if nat else [jobs],
            # Emptying the default security group takes a custom-resource Lambda; nothing uses that group.
            restrict_default_security_group=False,
        )
        # Free, and it carries the image layers, the checkpoints and the models.
        vpc.add_gateway_endpoint("S3", service=ec2.GatewayVpcEndpointAwsService.S3)
        self.vpc: ec2.IVpc = vpc
        self.subnets = ec2.SubnetSelection(subnet_group_name=JOBS_SUBNETS)

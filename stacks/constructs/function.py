"""A Lambda function of this repository."""

from dataclasses import dataclass
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from config.settings import Settings
from stacks.constructs.base import log_group
from stacks.constructs.dependencies import ARCHITECTURE, RUNTIME


@dataclass(frozen=True, kw_only=True)
class Inside:
    """Where in a network a function is."""

    vpc: ec2.IVpc
    subnets: ec2.SubnetSelection
    group: ec2.ISecurityGroup


class Function(lambda_.Function):
    """`lambdas.<name>.handler.handler`, with a log group and a role of its own that may write nothing but that log.

    :param code: the folder that `stacks.constructs.dependencies.function_code` made.
    :param timeout: seconds.
    :param dead_letters: where events go that the function failed on; for functions that are called
        asynchronously.
    :param inside: the network that it is in; none unless it must call something there.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        code: Path,
        settings: Settings,
        environment: dict[str, str],
        timeout: int,
        dead_letters: sqs.IQueue | None = None,
        inside: Inside | None = None,
    ) -> None:
        logs = log_group(scope, f"{construct_id}Log", settings=settings)
        role = iam.Role(scope, f"{construct_id}Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        logs.grant_write(role)
        super().__init__(
            scope,
            construct_id,
            runtime=RUNTIME,
            architecture=ARCHITECTURE,
            code=lambda_.Code.from_asset(str(code)),
            handler=f"lambdas.{name}.handler.handler",
            role=role,
            log_group=logs,
            logging_format=lambda_.LoggingFormat.JSON,
            environment=environment,
            timeout=cdk.Duration.seconds(timeout),
            memory_size=512,
            dead_letter_queue=dead_letters,
            vpc=inside.vpc if inside else None,
            vpc_subnets=inside.subnets if inside else None,
            security_groups=[inside.group] if inside else None,
            allow_public_subnet=True if inside else None,  # it calls what is in the network, and nothing else
        )
        if inside:
            role.add_managed_policy(
                iam.ManagedPolicy.from_aws_managed_policy_name("service-role/AWSLambdaVPCAccessExecutionRole")
            )

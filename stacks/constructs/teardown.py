"""Takes along, when a stack is destroyed, what CloudFormation alone would leave."""

from pathlib import Path
from typing import Any

import aws_cdk as cdk
from constructs import Construct, IDependable

from config.settings import Settings
from stacks.constructs.base import allow
from stacks.constructs.function import Function


class Teardown(Construct):
    """A function and the custom resource that calls it before `what` is deleted.

    :param properties: what `lambdas.teardown.handler` is told.
    :param actions: what it may do, by resource.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        code: Path,
        properties: dict[str, Any],
        actions: dict[str, list[str]],
        before: list[IDependable],
    ) -> None:
        super().__init__(scope, construct_id)
        function = Function(
            self, "Function", name="teardown", code=code, settings=settings, environment={}, timeout=14 * 60
        )
        for arn, allowed in actions.items():
            allow(function, allowed, arn)
        resource = cdk.CustomResource(
            self,
            "Resource",
            service_token=function.function_arn,
            resource_type="Custom::Teardown",
            properties=properties,
            service_timeout=cdk.Duration.minutes(15),
        )
        # Deleted first, so while its permissions are still there.
        resource.node.add_dependency(function, *before)

"""What endpoints are made of. The endpoints themselves belong to the pipeline: every run changes one, and a
stack would set it back to its template's model at each deployment."""

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from config.settings import Settings
from contract.layout import CAPTURED, MODEL_ARCHIVE
from stacks.constructs.base import RoomStack, allow, removal_policy
from stacks.constructs.image import image
from stacks.constructs.services import Services
from stacks.constructs.teardown import Teardown


class ServingStack(RoomStack):
    """The serving image, the role its containers run as and the group that records every accepted policy."""

    def __init__(
        self,
        scope: Construct,
        *,
        settings: Settings,
        function_code: Path,
        artifacts_bucket: s3.IBucket,
        vpc: ec2.IVpc,
        subnets: ec2.SubnetSelection,
    ) -> None:
        super().__init__(scope, "serving", settings=settings, description="Serving image, role and model registry.")
        served = image(self, "Image", name="serving", settings=settings)
        group = sagemaker.CfnModelPackageGroup(
            self,
            "Policies",
            model_package_group_name=f"rlpipe-{settings.stage}",
            model_package_group_description="Every policy that passed validation.",
        )
        group.apply_removal_policy(removal_policy(settings))
        role = iam.Role(
            self,
            "ModelRole",
            description="What a SageMaker endpoint may do: fetch its image and its model, write its log.",
            assumed_by=iam.ServicePrincipal("sagemaker.amazonaws.com"),
        )
        served.repository.grant_pull(role)
        allow(role, ["s3:GetObject"], artifacts_bucket.arn_for_objects(f"runs/*/{MODEL_ARCHIVE}"))
        # What is captured of the requests SageMaker writes as this role.
        allow(role, ["s3:PutObject"], artifacts_bucket.arn_for_objects(f"{CAPTURED}/*"))
        allow(
            role,
            ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            self.format_arn(
                service="logs",
                resource="log-group",
                resource_name="/aws/sagemaker/Endpoints/*",
                arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
            ),
        )
        self.services: Services | None = None
        if settings.serving.ecs:
            self.services = Services(
                self,
                "Services",
                settings=settings,
                ecs_settings=settings.serving.ecs,
                vpc=vpc,
                subnets=subnets,
                repository=served.repository,
                artifacts_bucket=artifacts_bucket,
            )
        if settings.empty_on_destroy:
            self._delete_on_destroy(settings, function_code, role, group)
        self.model_role: iam.IRole = role
        self.model_package_group_name = group.model_package_group_name
        self.image_uri = served.uri

    def _delete_on_destroy(
        self, settings: Settings, function_code: Path, role: iam.Role, group: sagemaker.CfnModelPackageGroup
    ) -> None:
        """An endpoint that outlived its stage would be paid for, and a group with packages cannot be deleted."""
        name = group.model_package_group_name

        def arn(resource: str, pattern: str) -> str:
            return self.format_arn(service="sagemaker", resource=resource, resource_name=pattern)

        Teardown(
            self,
            "ModelsTeardown",
            settings=settings,
            code=function_code,
            properties={
                "ModelRole": role.role_arn,
                "ModelPackageGroup": name,
                **(
                    {"Cluster": self.services.cluster_name, "Listener": self.services.listener_arn}
                    if self.services
                    else {}
                ),
            },
            actions={
                # They know no resources.
                "*": [
                    "sagemaker:ListModels",
                    "sagemaker:ListEndpointConfigs",
                    "sagemaker:ListEndpoints",
                    *(["ecs:ListServices", "elasticloadbalancing:DescribeRules"] if self.services else []),
                ],
                arn("model", "*"): ["sagemaker:DescribeModel", "sagemaker:DeleteModel"],
                arn("endpoint-config", "*"): [
                    "sagemaker:DescribeEndpointConfig",
                    "sagemaker:DeleteEndpointConfig",
                ],
                arn("endpoint", "*"): ["sagemaker:DescribeEndpoint", "sagemaker:DeleteEndpoint"],
                arn("model-package", f"{name}/*"): ["sagemaker:ListModelPackages", "sagemaker:DeleteModelPackage"],
                **(self.services.deleting if self.services else {}),
            },
            before=[group, role, *([self.services] if self.services else [])],
        )

"""A container image of this repository: built by whoever deploys, built by CodeBuild, or there already."""

from dataclasses import dataclass
from typing import Literal

import aws_cdk as cdk
from aws_cdk import aws_codebuild as codebuild
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from config.settings import Settings
from stacks.constructs.assets import SERVING_IMAGE, TRAINING_IMAGE, stage
from stacks.constructs.base import log_group, removal_policy

PLATFORM = ecr_assets.Platform.LINUX_AMD64
# A deployment that changed something else finds the image there.
_BUILD = """\
if ! aws ecr describe-images --repository-name "$NAME" --image-ids "imageTag=$TAG"; then
  aws ecr get-login-password | docker login --username AWS --password-stdin "${REPOSITORY%%/*}" &&
  docker build --platform linux/amd64 --file DOCKERFILE --tag "$REPOSITORY:$TAG" . &&
  docker push "$REPOSITORY:$TAG"
fi
"""
_CONTEXTS = {"training": TRAINING_IMAGE, "serving": SERVING_IMAGE}


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image by its URI, and the repository that it is pulled from."""

    uri: str
    repository: ecr.IRepository
    container: ecs.ContainerImage


def image(scope: Construct, construct_id: str, *, name: Literal["training", "serving"], settings: Settings) -> Image:
    """The training or the serving image, from where the settings say."""
    images = settings.images
    uri = images.training_uri if name == "training" else images.serving_uri
    if uri:
        return _prebuilt(scope, construct_id, uri)
    if images.builder == "codebuild":
        return CodeBuildImage(scope, construct_id, name=name, settings=settings).image
    # Built and pushed by `cdk deploy`; synthesis only hashes its context and needs no engine.
    asset = ecr_assets.DockerImageAsset(
        scope,
        construct_id,
        directory=str(stage(_CONTEXTS[name])),
        file=f"{name}_image/Dockerfile",
        # Said, not left to the machine that builds: an arm64 laptop would push an image that Batch cannot run.
        platform=PLATFORM,
        display_name=f"{name}_image",
    )
    return Image(
        uri=asset.image_uri,
        repository=asset.repository,
        container=ecs.ContainerImage.from_docker_image_asset(asset),
    )


def _prebuilt(scope: Construct, construct_id: str, uri: str) -> Image:
    registry, _, rest = uri.partition("/")
    account, _, _, region, *_ = registry.split(".")
    name, _, tag_or_digest = rest.partition("@") if "@" in rest else rest.partition(":")
    arn = f"arn:{cdk.Aws.PARTITION}:ecr:{region}:{account}:repository/{name}"
    repository = ecr.Repository.from_repository_attributes(
        scope, construct_id, repository_arn=arn, repository_name=name
    )
    return Image(
        uri=uri,
        repository=repository,
        container=ecs.ContainerImage.from_ecr_repository(repository, tag=tag_or_digest),
    )


class CodeBuildImage(Construct):
    """A repository and a project that fills it.

    The image's tag is the hash of its context, so it is built once for each change. CloudFormation announces the end of
    a deployment, and that starts the project: `cdk deploy` does not wait for it, and a job that comes first is tried
    again, as after any failed pull.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, name: Literal["training", "serving"], settings: Settings
    ) -> None:
        super().__init__(scope, construct_id)
        context = s3_assets.Asset(self, "Context", path=str(stage(_CONTEXTS[name])))
        repository = ecr.Repository(
            self,
            "Repository",
            image_scan_on_push=True,
            image_tag_mutability=ecr.TagMutability.IMMUTABLE,
            encryption=ecr.RepositoryEncryption.AES_256,
            removal_policy=removal_policy(settings),
            empty_on_delete=not settings.protect,
            lifecycle_rules=[ecr.LifecycleRule(max_image_count=20)],
        )
        tag = context.asset_hash
        uri = repository.repository_uri_for_tag(tag)
        project = codebuild.Project(
            self,
            "Project",
            description=f"Builds {name}_image/Dockerfile.",
            source=codebuild.Source.s3(bucket=context.bucket, path=context.s3_object_key),
            environment=codebuild.BuildEnvironment(
                build_image=codebuild.LinuxBuildImage.AMAZON_LINUX_2023_5,
                compute_type=codebuild.ComputeType.MEDIUM,
                privileged=True,  # Docker in Docker needs it
            ),
            environment_variables={
                "REPOSITORY": codebuild.BuildEnvironmentVariable(value=repository.repository_uri),
                "NAME": codebuild.BuildEnvironmentVariable(value=repository.repository_name),
                "TAG": codebuild.BuildEnvironmentVariable(value=tag),
            },
            build_spec=codebuild.BuildSpec.from_object(
                {
                    "version": "0.2",
                    "phases": {"build": {"commands": [_BUILD.replace("DOCKERFILE", f"{name}_image/Dockerfile")]}},
                }
            ),
            timeout=cdk.Duration.hours(1),
            grant_report_group_permissions=False,
            logging=codebuild.LoggingOptions(
                cloud_watch=codebuild.CloudWatchLoggingOptions(log_group=log_group(self, "Log", settings=settings))
            ),
        )
        context.grant_read(project)
        repository.grant_pull_push(project)
        repository.grant(project, "ecr:DescribeImages")
        events.Rule(
            self,
            "Deployed",
            description="This stack was deployed: build the image if it is new.",
            event_pattern=events.EventPattern(
                source=["aws.cloudformation"],
                detail_type=["CloudFormation Stack Status Change"],
                detail={
                    "stack-id": [cdk.Aws.STACK_ID],
                    "status-details": {"status": ["CREATE_COMPLETE", "UPDATE_COMPLETE"]},
                },
            ),
            targets=[targets.CodeBuildProject(project)],
        )
        self.image = Image(
            uri=uri, repository=repository, container=ecs.ContainerImage.from_ecr_repository(repository, tag=tag)
        )

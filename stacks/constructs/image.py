"""A container image of this repository."""

from aws_cdk import aws_ecr_assets as ecr_assets
from constructs import Construct

from stacks.constructs.assets import stage


class Image(ecr_assets.DockerImageAsset):
    """Built and pushed by `cdk deploy`; synthesis only hashes its context and needs no engine."""

    def __init__(self, scope: Construct, construct_id: str, *, context: tuple[str, ...], dockerfile: str) -> None:
        super().__init__(
            scope,
            construct_id,
            directory=str(stage(context)),
            file=dockerfile,
            # Said, not left to the machine that builds: an arm64 laptop would push an image that Batch cannot run.
            platform=ecr_assets.Platform.LINUX_AMD64,
            display_name=dockerfile.partition("/")[0],
        )

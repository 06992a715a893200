"""Where run files are dropped and where everything a run makes is kept."""

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_s3 as s3
from constructs import Construct

from config.settings import Settings
from contract.layout import CAPTURED, CHECKPOINT_TAG
from stacks.constructs.base import RoomStack, removal_policy
from stacks.constructs.teardown import Teardown


class StorageStack(RoomStack):
    """Three buckets: input, artifacts and the access logs of both."""

    def __init__(self, scope: Construct, *, settings: Settings, function_code: Path) -> None:
        super().__init__(scope, "storage", settings=settings, description="Input and artifacts of training runs.")
        self._settings = settings
        access_logs = self._bucket(
            "AccessLogs",
            lifecycle_rules=[s3.LifecycleRule(expiration=cdk.Duration.days(settings.storage.access_log_days))],
        )
        input_bucket = self._announcing(
            self._bucket("Input", server_access_logs_bucket=access_logs, server_access_logs_prefix="input/")
        )
        artifacts = self._bucket(
            "Artifacts",
            # By their tag, since their keys begin with the run's, like those of what must stay.
            lifecycle_rules=[
                s3.LifecycleRule(
                    tag_filters=dict([CHECKPOINT_TAG]),
                    expiration=cdk.Duration.days(settings.storage.checkpoint_days),
                ),
                s3.LifecycleRule(prefix=f"{CAPTURED}/", expiration=cdk.Duration.days(settings.storage.captured_days)),
            ],
            server_access_logs_bucket=access_logs,
            server_access_logs_prefix="artifacts/",
        )
        if settings.empty_on_destroy:
            self._empty_on_destroy([input_bucket, artifacts, access_logs], function_code)
        self.input_bucket: s3.IBucket = input_bucket
        self.artifacts_bucket: s3.IBucket = artifacts
        cdk.CfnOutput(self, "InputBucketName", value=self.input_bucket.bucket_name)
        cdk.CfnOutput(self, "ArtifactsBucketName", value=self.artifacts_bucket.bucket_name)

    def _bucket(
        self,
        construct_id: str,
        *,
        lifecycle_rules: list[s3.LifecycleRule] | None = None,
        server_access_logs_bucket: s3.IBucket | None = None,
        server_access_logs_prefix: str | None = None,
    ) -> s3.Bucket:
        return s3.Bucket(
            self,
            construct_id,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            versioned=True,
            removal_policy=removal_policy(self._settings),
            server_access_logs_bucket=server_access_logs_bucket,
            server_access_logs_prefix=server_access_logs_prefix,
            lifecycle_rules=[
                s3.LifecycleRule(
                    abort_incomplete_multipart_upload_after=cdk.Duration.days(7),
                    noncurrent_version_expiration=cdk.Duration.days(self._settings.storage.recoverable_days),
                    expired_object_delete_marker=True if lifecycle_rules is None else None,
                ),
                *(lifecycle_rules or []),
            ],
        )

    def _empty_on_destroy(self, buckets: list[s3.Bucket], function_code: Path) -> None:
        Teardown(
            self,
            "FilesTeardown",
            settings=self._settings,
            code=function_code,
            properties={"Buckets": [bucket.bucket_name for bucket in buckets]},
            actions={
                action_resource: actions
                for bucket in buckets
                for action_resource, actions in (
                    (bucket.bucket_arn, ["s3:ListBucketVersions"]),
                    (bucket.arn_for_objects("*"), ["s3:DeleteObject", "s3:DeleteObjectVersion"]),
                )
            },
            before=list(buckets),
        )

    @staticmethod
    def _announcing(bucket: s3.Bucket) -> s3.Bucket:
        """Have every object announced on EventBridge.

        By the native property: `event_bridge_enabled=True` would add a custom-resource Lambda that may
        reconfigure every bucket of the account.
        """
        resource = bucket.node.default_child
        assert isinstance(resource, s3.CfnBucket)
        resource.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
            event_bridge_configuration=s3.CfnBucket.EventBridgeConfigurationProperty(event_bridge_enabled=True)
        )
        return bucket

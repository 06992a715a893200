"""boto3 clients of this instance, for work that goes through the public API."""

from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from embedded_aws.access import permissions
from embedded_aws.settings import ACCESS_KEY, REGION

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@cache
def s3(endpoint_url: str, role: str | None = None) -> "S3Client":
    """The S3 client of the instance at `endpoint_url`, of the account or of a role; safe to share between threads."""
    keys = permissions.credentials(role, "aws") if role else {}
    return boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id=keys.get("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        aws_secret_access_key=keys.get("AWS_SECRET_ACCESS_KEY", ACCESS_KEY),
        aws_session_token=keys.get("AWS_SESSION_TOKEN"),
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 2}),
    )


@cache
def sqs(endpoint_url: str) -> Any:
    """The SQS client of the instance at `endpoint_url`; safe to share between threads."""
    return boto3.client(
        "sqs",
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=ACCESS_KEY,
    )

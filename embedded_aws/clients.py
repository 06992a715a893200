"""boto3 clients of this instance, for work that goes through the public API."""

from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from embedded_aws.settings import ACCESS_KEY, REGION

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@cache
def s3(endpoint_url: str) -> "S3Client":
    """The S3 client of the instance at `endpoint_url`; safe to share between threads."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=ACCESS_KEY,
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

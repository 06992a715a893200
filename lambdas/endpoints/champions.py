"""`champions/<endpoint>.json` in the artifacts bucket. Whoever writes it holds the endpoint's lease."""

import os
from collections.abc import Iterator

import boto3

from contract.champion import Champion
from contract.layout import CHAMPIONS, champion_key

_s3 = boto3.client("s3")


def read(endpoint: str) -> Champion | None:
    """Who serves at an endpoint; None when nobody ever did."""
    try:
        body = _s3.get_object(Bucket=os.environ["ARTIFACTS_BUCKET"], Key=champion_key(endpoint))["Body"].read()
    except _s3.exceptions.NoSuchKey:
        return None
    return Champion.model_validate_json(body)


def everyone() -> Iterator[Champion]:
    """Every champion, of endpoints that are on and of those that are off."""
    pages = _s3.get_paginator("list_objects_v2").paginate(Bucket=os.environ["ARTIFACTS_BUCKET"], Prefix=f"{CHAMPIONS}/")
    for item in [item for page in pages for item in page.get("Contents", [])]:
        champion = read(item["Key"].removeprefix(f"{CHAMPIONS}/").removesuffix(".json"))
        if champion:
            yield champion


def write(champion: Champion) -> None:
    """Note who serves; the versions of before stay in the bucket for a while."""
    _s3.put_object(
        Bucket=os.environ["ARTIFACTS_BUCKET"],
        Key=champion_key(champion.endpoint),
        Body=champion.model_dump_json(indent=1).encode(),
        ContentType="application/json",
    )

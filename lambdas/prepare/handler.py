"""Read a dropped run file, refuse it or resolve it, and say what the state machine needs to know of it."""

import os
from datetime import UTC, datetime
from typing import Any

import boto3

from contract.catalogue import load_catalogue
from contract.control import Phase
from contract.cost import ServingPrices, monthly_usd
from contract.layout import DATA_FOLDER, RUN_FILE, RunLayout, error_key
from contract.record import new_record
from contract.run import (
    MAX_RUN_FILE_BYTES,
    DataSection,
    DeploySection,
    Input,
    Problem,
    ResolvedRun,
    RunFileError,
    RunSpecification,
    Source,
    data_files,
    resolve,
)
from lambdas.items import to_item

MAX_FILES = 10_000
"""Files that a run learns from; run.json names each of them."""

MAX_LINEAGE = 256
"""https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModelPackage.html"""

_s3 = boto3.client("s3")
_dynamodb = boto3.client("dynamodb")


def handler(event: dict[str, str], _context: object) -> dict[str, Any]:
    """Prepare one run. `event` is the execution's input, as the trigger function made it.

    Returns `{"valid": False, "reason": ...}` for a refused file, whose reasons then lie beside it in
    `<key>.error.txt`; else pointers to what the run has and one entry a seed to train.
    """
    source = Source(bucket=event["bucket"], key=event["key"], version_id=event["version_id"])
    catalogue = load_catalogue()
    try:
        specification = RunSpecification.parse(_read(source), catalogue)
        _check_target(specification.deploy)
        inputs = _inputs(source, specification.data) if specification.data else []
    except RunFileError as error:
        _s3.put_object(
            Bucket=source.bucket, Key=error_key(source.key), Body=_explain(source, error), ContentType="text/plain"
        )
        return {"valid": False, "reason": str(error)}
    run = ResolvedRun(
        run_id=event["run_id"],
        experiment=event["experiment"],
        source=source,
        specification=resolve(specification, experiment=event["experiment"], catalogue=catalogue),
        inputs=inputs,
        submitted_at=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"gymnasium": catalogue.gymnasium},
    )
    bucket = os.environ["ARTIFACTS_BUCKET"]
    layout = RunLayout(run_id=run.run_id)
    _s3.put_object(
        Bucket=bucket,
        Key=layout.specification,
        Body=run.model_dump_json(indent=1).encode(),
        ContentType="application/json",
    )
    _begin_record(run, f"s3://{bucket}/{layout.prefix}")
    return {"valid": True, **_pointers(run, layout, bucket)}


def _check_target(deploy: DeploySection) -> None:
    """Refuse a target that this stage does not have."""
    targets = monthly_usd(_prices())
    if deploy.target not in targets:
        allowed = f"{', '.join(targets)}; services on ECS take serving.ecs in the stage's settings"
        raise RunFileError([Problem(field="deploy.target", given=deploy.target, allowed=allowed)])


def _read(source: Source) -> bytes:
    """The file's bytes; of one that is far too large only as many as show that it is."""
    response = _s3.get_object(Bucket=source.bucket, Key=source.key, VersionId=source.version_id)
    content: bytes = response["Body"].read(MAX_RUN_FILE_BYTES + 1)
    return content


def _inputs(source: Source, data: DataSection) -> list[Input]:
    """The newest versions of the files that the run learns from.

    Raises:
        RunFileError: there are none, or too many, or the marker is not there.
    """
    folder = source.key.removesuffix(RUN_FILE)
    pages = _s3.get_paginator("list_object_versions").paginate(Bucket=source.bucket, Prefix=f"{folder}{DATA_FOLDER}/")
    found = {
        version["Key"].removeprefix(folder): version
        for page in pages
        for version in page.get("Versions", [])
        if version["IsLatest"]
    }
    marker = f"{DATA_FOLDER}/{data.marker}"
    if data.marker and marker not in found:
        raise RunFileError(
            [Problem(field="data.marker", given=data.marker, allowed=f"{marker} is not there yet; it starts the run")]
        )
    names = data_files(data, found)
    if not 1 <= len(names) <= MAX_FILES:
        allowed = f"1 to {MAX_FILES:,} files in {folder}{DATA_FOLDER}/; {len(names):,} match; new ones start a run"
        raise RunFileError([Problem(field="data.files", given=data.files, allowed=allowed)])
    return [Input(key=folder + name, version_id=found[name]["VersionId"], bytes=found[name]["Size"]) for name in names]


def _begin_record(run: ResolvedRun, uri: str) -> None:
    """Put what is known of the run into the run table, where there is nothing yet.

    This function may be retried, the run may have been ended by now, and one that failed here is resumed.
    """
    specification = run.specification
    prices = {"cpu": os.environ["CPU_PRICE_PER_HOUR"], "gpu": os.environ["GPU_PRICE_PER_HOUR"]}
    record = new_record(
        run_id=run.run_id,
        experiment=run.experiment,
        submitted_at=run.submitted_at,
        endpoint=_endpoint(run) if specification.deploy.target != "none" else None,
        seeds=specification.seeds,
        total_timesteps=specification.timesteps,
        price_per_hour=float(prices[specification.compute.accelerator]),
        artifacts=uri,
        endpoint_monthly_usd=_monthly_usd(run),
        phase=Phase.PREPARING if run.inputs else Phase.TRAINING,
    )
    item = to_item(record)
    key = {"run_id": item.pop("run_id")}
    _dynamodb.update_item(
        TableName=os.environ["RUN_TABLE"],
        Key=key,
        UpdateExpression="SET " + ", ".join(f"#{name} = if_not_exists(#{name}, :{name})" for name in item),
        ExpressionAttributeNames={f"#{name}": name for name in item},
        ExpressionAttributeValues={f":{name}": value for name, value in item.items()},
    )


def _endpoint(run: ResolvedRun) -> str:
    return run.specification.deploy.endpoint or run.experiment


def _monthly_usd(run: ResolvedRun) -> float:
    """What the endpoint will cost a month, by the prices of the stage."""
    return monthly_usd(_prices())[run.specification.deploy.target]


def _prices() -> ServingPrices:
    return ServingPrices.model_validate_json(os.environ["SERVING_PRICES"])


def _explain(source: Source, error: RunFileError) -> bytes:
    problems = "\n".join(f"- {problem}" for problem in error.problems)
    return (
        f"s3://{source.bucket}/{source.key} (version {source.version_id}) was refused; nothing was started.\n\n"
        f"{problems}\n\n"
        "Mend the file and drop it again. `rlpipe validate run.yaml` checks it without starting anything.\n"
    ).encode()


def _pointers(run: ResolvedRun, layout: RunLayout, bucket: str) -> dict[str, Any]:
    """What the state machine passes on: small, since a state's payload may not exceed 256 KiB."""
    specification = run.specification
    endpoint = _endpoint(run)
    accelerator = specification.compute.accelerator
    uri = f"s3://{bucket}/{layout.prefix}"
    return {
        "run_id": run.run_id,
        # createModelPackage takes a client token of at most 36 characters.
        "token": run.run_id.rsplit("-", 1)[-1],
        "uri": uri,
        "has_data": bool(run.inputs),
        "experiment": run.experiment,
        "lineage": _lineage(run, f"s3://{bucket}/{layout.specification}"),
        "verdict_key": layout.verdict,
        "verdict_uri": f"s3://{bucket}/{layout.verdict}",
        "golden_key": layout.golden,
        "model_uri": f"s3://{bucket}/{layout.model_archive}",
        "target": specification.deploy.target,
        "approval": specification.deploy.approval,
        "approval_hours": specification.deploy.approval_hours,
        # Step Functions counts whole seconds.
        "approval_seconds": max(1, round(specification.deploy.approval_hours * 3600)),
        "endpoint": endpoint,
        "max_latency_ms": specification.deploy.max_latency_ms,
        "shadow": specification.deploy.shadow is not None,
        "monthly_usd": _monthly_usd(run),
        "training": [
            {
                "seed": seed,
                "job_name": f"{run.run_id}-seed-{seed}",
                "accelerator": accelerator,
                "queue": f"{accelerator}-spot" if specification.compute.spot else accelerator,
                "run_uri": uri,
            }
            for seed in specification.seeds
        ],
    }


def _lineage(run: ResolvedRun, specification: str) -> dict[str, str]:
    """What a policy of this run comes from, for the model registry: text of at most 256 characters each."""
    source, specified = run.source, run.specification
    lineage = {
        "specification": specification,
        "source": f"s3://{source.bucket}/{source.key}",
        "source_version": source.version_id,
        "environment": specified.environment.id,
        "algorithm": specified.algorithm.name,
        "timesteps": str(specified.timesteps),
        **{f"version_{name}": version for name, version in run.versions.items()},
    }
    return {name: value[:MAX_LINEAGE] for name, value in lineage.items()}

"""Whether what was trained can run and serve: images and endpoint limits."""

import re
from typing import Any

from cli.doctor.findings import Finding, Findings, Level, good
from cli.doctor.patient import Patient
from cli.errors import error_code

_JOB_DEFINITION = re.compile(r"arn:[a-z-]+:batch:[a-z0-9-]*:[0-9]*:job-definition/[A-Za-z0-9_-]+:[0-9]+")
_IMAGE = re.compile(
    r"(?P<registry>\d{12})\.dkr\.ecr\.[a-z0-9.-]+/(?P<name>[a-z0-9._/-]+)(?P<tag>:[\w.-]+|@sha256:\w{64})"
)


def images(patient: Patient) -> Findings:
    """Whether ECR has the images that jobs and endpoints are started from."""
    if patient.definition is None:
        return
    definitions = sorted(set(_JOB_DEFINITION.findall(patient.definition)))
    answer = patient.client("batch").describe_job_definitions(jobDefinitions=definitions)["jobDefinitions"]
    training = {_image_of(definition) for definition in answer}
    serving = {found[0] for found in _IMAGE.finditer(patient.definition)}
    ecr = patient.client("ecr")
    for kind, uris in (("training", training), ("serving", serving)):
        missing = [uri for uri in sorted(uris) if not _is_there(ecr, uri)]
        for uri in missing:
            codebuild = patient.settings.images.builder == "codebuild"
            yield Finding(
                check=f"{kind} image",
                level=Level.STOPS,
                what=f"ECR does not have {uri}",
                why="jobs would fail to pull it" if kind == "training" else "no endpoint could start",
                fix="aws codebuild list-projects   # then: aws codebuild start-build --project-name <its project>"
                if codebuild
                else f"cdk deploy --all -c stage={patient.stage}   # builds and pushes it",
            )
        if uris and not missing:
            yield good(f"{kind} image", "ECR has it")


def endpoints(patient: Patient) -> Findings:
    """Whether SageMaker's limits leave room for one more instance, which a new endpoint and an update both need."""
    if not patient.deploys:
        return
    type_ = patient.settings.serving.instance_type
    name = f"{type_} for endpoint usage"
    quota = _endpoint_quota(patient.client("service-quotas"), name)
    if quota is None:
        yield Finding(
            check="endpoint quota",
            level=Level.UNKNOWN,
            what=f"SageMaker has no quota called '{name}'",
            why=f"{type_} may be a type that it no longer offers",
            fix=f"set serving.instance_type in config/{patient.stage}.yaml to one that it offers",
        )
        return
    used = _instances_in_use(patient.client("sagemaker"), type_)
    if used + 1 > quota["value"]:
        yield Finding(
            check="endpoint quota",
            level=Level.STOPS,
            what=f"{used} of {quota['value']:g} {type_} serve already",
            why="a new endpoint needs one more, and so does an update: the new instance starts before the old one ends",
            fix=f"aws service-quotas request-service-quota-increase --service-code sagemaker --quota-code "
            f"{quota['code']} --desired-value {used + 2} --region {patient.region}",
        )
    else:
        yield good("endpoint quota", f"{used} of {quota['value']:g} {type_} are in use")


def _image_of(definition: dict[str, Any]) -> str:
    container: dict[str, Any] = definition.get("containerProperties") or {}
    if "image" in container:
        return str(container["image"])
    task = definition["ecsProperties"]["taskProperties"][0]
    return str(task["containers"][0]["image"])


def _is_there(ecr: Any, uri: str) -> bool:
    parts = _IMAGE.fullmatch(uri)
    if parts is None:
        return True  # of another registry; whoever named it knows
    tag = parts["tag"]
    wanted = {"imageDigest": tag[1:]} if tag.startswith("@") else {"imageTag": tag[1:]}
    try:
        ecr.describe_images(registryId=parts["registry"], repositoryName=parts["name"], imageIds=[wanted])
    except Exception as error:
        if error_code(error) in ("ImageNotFoundException", "RepositoryNotFoundException"):
            return False
        raise
    return True


def _endpoint_quota(client: Any, name: str) -> dict[str, Any] | None:
    """Code and value; quotas of SageMaker have a code for each instance type and use."""
    for operation in ("list_service_quotas", "list_aws_default_service_quotas"):
        for page in client.get_paginator(operation).paginate(ServiceCode="sagemaker"):
            for quota in page["Quotas"]:
                if quota["QuotaName"] == name:
                    return {"code": quota["QuotaCode"], "value": float(quota["Value"])}
    return None


def _instances_in_use(client: Any, type_: str) -> int:
    used = 0
    for page in client.get_paginator("list_endpoints").paginate():
        for endpoint in page["Endpoints"]:
            described = client.describe_endpoint(EndpointName=endpoint["EndpointName"])
            config = client.describe_endpoint_config(EndpointConfigName=described["EndpointConfigName"])
            used += sum(
                int(variant.get("InitialInstanceCount", 0))
                for variant in config["ProductionVariants"]
                if variant.get("InstanceType") == type_
            )
    return used

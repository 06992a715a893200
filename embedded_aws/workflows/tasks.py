"""What a state machine's role must be allowed for its tasks.

https://docs.aws.amazon.com/step-functions/latest/dg/concept-create-iam-advanced.html
"""

import json
from collections.abc import Iterator
from typing import Any

from embedded_aws import hooks
from embedded_aws.access import permissions, resources
from embedded_aws.casing import lower_first
from embedded_aws.settings import ACCOUNT, REGION, arn
from embedded_aws.workflows import scopes

_MODULE = "services.stepfunctions"
_OPTIMIZED = "arn:aws:states:::"
_ERRORS = {"dynamodb": "DynamoDb", "sns": "SNS", "sqs": "Sqs", "s3": "S3", "sagemaker": "SageMaker"}
_NAMESPACES = {"sfn": "states", "cloudwatch": "monitoring", "eventbridge": "events", "cloudwatchlogs": "logs"}
"""What the names of SDK integrations are called otherwise in permissions."""

_MANAGED_RULE = arn("events", "rule/StepFunctionsGetEventsForBatchJobsRule")
_WATCH_JOBS = ("events:PutTargets", "events:PutRule", "events:DescribeRule")
_Need = tuple[str, list[str], dict[str, str]]


def install() -> None:
    """Check each task before it is begun."""
    invoke = hooks.private(_MODULE, "_invoke_resource")
    error: Any = hooks.private(_MODULE, "_ExecutionError")

    def invoke_allowed(resource: str, arguments: Any) -> Any:
        scope = scopes.current()
        if scope:
            role = scopes.role_of(scope.execution)
            try:
                for action, about, context in needs(resource, arguments or {}):
                    permissions.check(role, action, about, **context)
            except permissions.DeniedError as denied:
                raise error(_error_of(resource), f"{denied} (Status Code: 403)") from None
        return invoke(resource, arguments)

    hooks.replace(_MODULE, "_invoke_resource", invoke_allowed)


def needs(resource: str, arguments: dict[str, Any]) -> Iterator[_Need]:
    """Actions, what they are about, and their context, for a task's resource and arguments."""
    task = resource.removeprefix(_OPTIMIZED).removesuffix(".waitForTaskToken")
    if task.startswith("arn:aws:lambda:"):
        yield "lambda:InvokeFunction", [task], {}
    elif task == "lambda:invoke":
        name = str(arguments.get("FunctionName", ""))
        yield "lambda:InvokeFunction", [name if name.startswith("arn:") else arn("lambda", f"function:{name}")], {}
    elif task.startswith("batch:submitJob"):
        yield "batch:SubmitJob", resources.batch("SubmitJob", lower_first(arguments)), {}
        if task.endswith(".sync"):
            yield "batch:DescribeJobs", resources.EVERYTHING, {}
            for action in _WATCH_JOBS:
                yield action, [_MANAGED_RULE], {}
    elif task == "sns:publish":
        yield "sns:Publish", [str(arguments.get("TopicArn", "*"))], {}
    elif task.startswith("aws-sdk:"):
        _, service, operation = task.split(":")
        yield from _sdk(_NAMESPACES.get(service, service), operation[:1].upper() + operation[1:], arguments)
    elif task.count(":") == 1:  # another optimized integration
        service, operation = task.removesuffix(".sync").split(":")
        yield from _sdk(service, operation[:1].upper() + operation[1:], arguments)


def _sdk(service: str, operation: str, arguments: dict[str, Any]) -> Iterator[_Need]:
    yield (
        f"{'cloudwatch' if service == 'monitoring' else service}:{operation}",
        _about(service, operation, arguments),
        {},
    )
    for need in resources.needs(service, operation, arguments, _about(service, operation, arguments)[0], "", {}):
        yield need.action, [need.resource], dict(need.context)


def _about(service: str, operation: str, arguments: dict[str, Any]) -> list[str]:
    if service == "batch":
        return resources.batch(operation, lower_first(arguments))
    if service == "sagemaker":
        return resources.sagemaker(operation, arguments)
    if service == "logs":
        return resources.logs(lower_first(arguments))
    if service == "s3":
        place = "/".join(str(arguments[part]) for part in ("Bucket", "Key") if part in arguments)
        return [f"arn:aws:s3:::{place}"] if place else resources.EVERYTHING
    given = lower_first(arguments) if service == "states" else arguments
    query = {key: [str(value)] for key, value in arguments.items()}
    extract = hooks.private("core.iam_actions", "extract_resource_arn")
    return [extract(service, "POST", "/", {}, json.dumps(given).encode(), query, REGION, ACCOUNT)]


def _error_of(resource: str) -> str:
    service = resource.removeprefix(_OPTIMIZED).removeprefix("aws-sdk:").partition(":")[0]
    if service == "lambda":
        return "Lambda.AWSLambdaException"
    name = _ERRORS.get(service, service[:1].upper() + service[1:])
    return f"{name}.{name}Exception"

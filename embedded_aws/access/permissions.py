"""Whose call it is, and whether the policies of its role allow it.

ministack checks each request against the policies of whoever signed it. Here every function, job and container gets
credentials of its own role, what AWS does in a role's name without a request of ours (the tasks of a state machine,
images, logs, dead letters) is checked in the same way, and every check can be noted.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

import contextvars
import hashlib
import json
import logging
import re
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from embedded_aws import hooks
from embedded_aws.access import resources
from embedded_aws.settings import ACCOUNT, REGION, Settings, assumed_role

_EVALUATOR = "core.iam_evaluator"
_ACTIONS = "core.iam_actions"
_log = logging.getLogger("embedded_aws")

_PULL = ("ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage")
"""What it takes to pull an image of a repository, beside `ecr:GetAuthorizationToken`."""


class _About(NamedTuple):
    """What is known of the request that is answered."""

    context: dict[str, str]
    further: list[resources.Need]
    """What it needs beside the action that it is named after."""


class DeniedError(Exception):
    """No policy of the role allows the call; the text is IAM's."""


_notes: "_Notes | None" = None
_evaluated: contextvars.ContextVar[list[Any] | None] = contextvars.ContextVar("evaluated", default=None)
_request_about: contextvars.ContextVar["_About | None"] = contextvars.ContextVar("request_about", default=None)
_caller: contextvars.ContextVar[str] = contextvars.ContextVar("caller", default="")


def install(settings: Settings) -> None:
    """Check requests about our own services too, and note what is checked where that is asked for."""
    global _notes
    _notes = _Notes(settings.state_dir / "calls.jsonl") if settings.note_calls else None
    hooks.know_permissions_of_sagemaker()
    pin = hooks.private("app", "pin_request_origin")
    # What stays on this machine needs no TLS, which policies ask for.
    hooks.replace("app", "pin_request_origin", lambda address, secure: pin(address, True))
    _name_resources()
    _note_requests()
    _check_logs_of_functions()
    _hide_what_may_not_be_listed()


# --- roles ------------------------------------------------------------------------------------------------------------


def credentials(role: str, session: str) -> dict[str, str]:
    """Environment variables with credentials of a role, for a process that AWS would start in its name."""
    session = re.sub(r"[^\w+=,.@-]", "-", session)[:64]
    digest = hashlib.sha256(f"{role}:{session}".encode()).hexdigest()
    keys = {
        "AWS_ACCESS_KEY_ID": f"ASIA{digest[:16].upper()}",
        "AWS_SECRET_ACCESS_KEY": hashlib.sha256(f"secret:{digest}".encode()).hexdigest(),
        "AWS_SESSION_TOKEN": hashlib.sha256(f"token:{digest}".encode()).hexdigest(),
    }
    hooks.private("services.sts", "register_session")(
        keys["AWS_ACCESS_KEY_ID"],
        {
            "Arn": assumed_role(role, session),
            "UserId": f"{_name(role)}:{session}",
            "SecretAccessKey": keys["AWS_SECRET_ACCESS_KEY"],
            "SessionToken": keys["AWS_SESSION_TOKEN"],
        },
    )
    return keys


def check(role: str, action: str, about: Iterable[str] = resources.EVERYTHING, **context: str) -> None:
    """Raise DeniedError unless the role may do it with all of the resources."""
    policies = hooks.private(_EVALUATOR, "_gather_role_policies")(_name(role), ACCOUNT)
    for resource in about:
        request = _request(assumed_role(role, "aws"), "AssumedRole", action, resource, context)
        allowed = hooks.private(_EVALUATOR, "evaluate")(request, policies).decision == "Allow"
        _note(request, allowed=allowed)
        if not allowed:
            raise DeniedError(
                f"User: {request.principal_arn} is not authorized to perform: {action} on resource: {resource} "
                f"because no identity-based policy allows the {action} action"
            )


def check_pull(role: str, image: str) -> None:
    """Raise DeniedError unless the role may pull the image."""
    repository = resources.repository(image)
    if repository:
        check(role, "ecr:GetAuthorizationToken")
        for action in _PULL:
            check(role, action, [repository])


def check_log(role: str, group: str, stream: str) -> None:
    """Raise DeniedError unless the role may write a new stream of the log group."""
    check(role, "logs:CreateLogStream", resources.logs({"logGroupName": group}))
    check(role, "logs:PutLogEvents", resources.logs({"logGroupName": group, "logStreamName": stream}))


def check_service(service: str, action: str, resource: str, policy: Any, source: str) -> None:
    """Raise DeniedError unless a resource's own policy lets a service (`events.amazonaws.com`) do it for a source."""
    context = {"aws:SourceArn": source, "aws:SourceAccount": ACCOUNT}
    request = _request(service, "Service", action, resource, context)
    decide = hooks.private(_EVALUATOR, "evaluate_resource_policy")
    allowed = decide(policy, request, service=service).decision == "Allow"
    _note(request, allowed=allowed)
    if not allowed:
        raise DeniedError(f"{service} is not authorized to perform: {action} on resource: {resource} for {source}")


def _name(role: str) -> str:
    return role.rpartition("/")[2]


def _request(principal: str, kind: str, action: str, resource: str, context: dict[str, str]) -> Any:
    return hooks.private(_EVALUATOR, "EvalContext")(
        principal_arn=principal,
        principal_type=kind,
        principal_account=ACCOUNT,
        action=action,
        resource_arn=resource,
        region=REGION,
        secure_transport=True,
        service_context={key.lower(): value for key, value in context.items()},
    )


def _check_logs_of_functions() -> None:
    """What a function prints is in its log if its role may write there."""
    emit = hooks.private("services.lambda_svc", "_emit_lambda_logs")

    def emit_allowed(function: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        config = function.get("config") or function
        group = (config.get("LoggingConfig") or {}).get("LogGroup") or f"/aws/lambda/{config.get('FunctionName')}"
        try:
            check_log(config["Role"], group, "stream")
        except DeniedError:
            return
        emit(function, *args, **kwargs)

    hooks.replace("services.lambda_svc", "_emit_lambda_logs", emit_allowed)


# --- requests ---------------------------------------------------------------------------------------------------------


def _name_resources() -> None:
    """Name what requests about Batch, SageMaker, logs and tasks are about; ministack knows it not or otherwise."""
    extract = hooks.private(_ACTIONS, "extract_resource_arn")

    def extract_resource_arn(service: str, method: str, path: str, headers: Any, body: bytes, *rest: Any) -> str:
        operation, request = _request_in(service, path, headers, body)
        if service in ("monitoring", "elasticloadbalancing") and not request and rest:
            request = {key: value[0] if isinstance(value, list) else value for key, value in rest[0].items()}
        named = resources.named(service, operation, request)
        resource = named[0] if named else str(extract(service, method, path, headers, body, *rest))
        needs = [resources.Need("", about) for about in named[1:]]
        needs += resources.needs(service, operation, request, resource, method, headers)
        _request_about.set(_About(resources.context(service, request), needs))
        return resource

    hooks.replace(_ACTIONS, "extract_resource_arn", extract_resource_arn)


def _request_in(service: str, path: str, headers: dict[str, str], body: bytes) -> tuple[str, dict[str, Any]]:
    """The operation that a request names, and its members; Batch's operations are in lower case."""
    if service == "sagemaker" and path.startswith("/endpoints/"):
        return "InvokeEndpoint", {"EndpointName": path.split("/")[2]}
    operation = path.rpartition("/")[2] if service == "batch" else headers.get("x-amz-target", "").rpartition(".")[2]
    try:
        request = json.loads(body or b"{}") if service in resources.WITH_JSON else {}
    except ValueError:
        request = {}
    return operation, request if isinstance(request, dict) else {}


def _hide_what_may_not_be_listed() -> None:
    """Who may not list a bucket is told "denied" of an object that does not exist.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    """
    answer = hooks.private("app", "SERVICE_HANDLERS")["s3"]

    async def answer_or_hide(method: str, path: str, *rest: Any) -> Any:
        given = await answer(method, path, *rest)
        role = re.search(r":assumed-role/([^/]+)/", _caller.get())
        bucket, _, key = path.lstrip("/").partition("/")
        if given[0] != 404 or method not in ("GET", "HEAD") or not key or not role:
            return given
        try:
            check(role[1], "s3:ListBucket", [f"arn:aws:s3:::{bucket}"])
        except DeniedError:
            denied = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            return 403, {"Content-Type": "application/xml"}, b"" if method == "HEAD" else denied
        return given

    hooks.private("app", "SERVICE_HANDLERS")["s3"] = answer_or_hide


def _note_requests() -> None:
    evaluate = hooks.private(_EVALUATOR, "evaluate")
    enforce = hooks.private(_EVALUATOR, "enforce")

    def evaluate_noted(request: Any, *policies: Any) -> Any:
        evaluated = _evaluated.get()
        if evaluated is not None:
            evaluated.append(request)
        return evaluate(request, *policies)

    def enforce_once(*call: Any, **about: Any) -> Any:
        token = _evaluated.set([])
        try:
            denied = enforce(*call, **about)
            evaluated = _evaluated.get()
        finally:
            _evaluated.reset(token)
        _caller.set(evaluated[0].principal_arn if evaluated else "")
        if evaluated:  # what the account itself does is not checked against any policy
            _note(evaluated[0], allowed=denied is None)
        return denied

    def enforce_all(*call: Any, **about: Any) -> Any:
        known = _request_about.get() or _About({}, [])
        _request_about.set(None)
        if known.context:
            about["service_context"] = {**(about.get("service_context") or {}), **known.context}
        key, action, *where = call
        denied = enforce_once(key, action, *where, **about)
        for need in known.further:
            more = {
                **about,
                "resource_arn": need.resource,
                **({"service_context": need.context} if need.action else {}),
            }
            denied = denied or enforce_once(key, need.action or action, *where, **more)
        return denied

    hooks.replace(_EVALUATOR, "evaluate", evaluate_noted)
    hooks.replace(_EVALUATOR, "enforce", enforce_all)


def _note(request: Any, *, allowed: bool) -> None:
    if not allowed:
        _log.warning("denied: %s may not %s on %s", request.principal_arn, request.action, request.resource_arn)
    if _notes:
        _notes.add(request, allowed=allowed)


class _Notes:
    """Each call once, as a line of JSON."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen: set[str] = set()

    def add(self, request: Any, *, allowed: bool) -> None:
        parts = request.principal_arn.split("/")
        call = {
            "principal": parts[1] if len(parts) > 1 else parts[0],
            "action": request.action,
            "resource": request.resource_arn,
            "context": {key: value for key, value in request.service_context.items() if value is not None},
            "allowed": allowed,
        }
        line = json.dumps(call, sort_keys=True)
        with self._lock:
            if line not in self._seen:
                self._seen.add(line)
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(f"{line}\n")

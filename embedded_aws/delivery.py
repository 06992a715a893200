"""What becomes of an event or a message that cannot be delivered.

ministack drops what a target does not take. EventBridge keeps it in the target's dead-letter queue, and Lambda calls a
function that fails twice more before it does the same.
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
"""

import contextvars
import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from embedded_aws import hooks
from embedded_aws.access import permissions
from embedded_aws.clients import sqs
from embedded_aws.settings import Settings

_EVENTS = "services.eventbridge"
_FUNCTIONS = "services.lambda_svc"
_STATES = "services.stepfunctions"
_LONGEST_SUBJECT = 100
_sender: contextvars.ContextVar["Sender"] = contextvars.ContextVar("sender")
_refusal: contextvars.ContextVar["Refusal | None"] = contextvars.ContextVar("refusal", default=None)
_log = logging.getLogger("embedded_aws")


@dataclass(frozen=True)
class Refusal:
    """Why a target does not take an event, and would not take it at another try either."""

    code: str
    message: str


@dataclass(frozen=True)
class Sender:
    """Who sends an event: a rule, whom the target's own policy must let, or a schedule, in the name of its role."""

    arn: str
    role: str | None

    def check(self, action: str, target: str, policy: Any) -> None:
        """Raise DeniedError unless it may; `policy` is the target's."""
        if self.role:
            permissions.check(self.role, action, [target])
        else:
            permissions.check_service("events.amazonaws.com", action, target, policy, self.arn)


def install(settings: Settings) -> None:
    """Retry functions, and keep what cannot be delivered."""
    _keep_undelivered_events(settings)
    _keep_failed_invocations(settings)
    _check_subjects()


def _keep_undelivered_events(settings: Settings) -> None:
    invoke = hooks.private(_EVENTS, "_invoke_target")

    def invoke_target(target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: Any = None) -> None:
        token, of_rule = _refusal.set(None), _sender.set(Sender(rule.get("Arn", ""), target.get("RoleArn")))
        try:
            invoke(target, event, rule, view)
            refused = _refusal.get()
        finally:
            _refusal.reset(token)
            _sender.reset(of_rule)
        if refused:
            whole = (view or hooks.private(_EVENTS, "_pattern_event_view")(event)).event_with_detail()
            _keep(settings, target, rule, whole, refused)

    hooks.replace(_EVENTS, "_invoke_target", invoke_target)
    hooks.replace(_EVENTS, "_dispatch_to_lambda", _call_target)
    _refuse_unknown("_dispatch_to_sqs", lambda spec: hooks.private("services.sqs", "_queue_by_arn")(str(spec)))
    _refuse_unknown("_dispatch_to_sns", lambda arn: hooks.private("services.sns", "_topic_by_arn_any_scope")(arn))
    _refuse_unknown("_dispatch_to_stepfunctions", hooks.private(_STATES, "_resolve_state_machine_arn"))


def _keep(settings: Settings, target: dict[str, Any], rule: dict[str, Any], event: Any, refused: Refusal) -> None:
    queue = (target.get("DeadLetterConfig") or {}).get("Arn")
    _log.warning("EventBridge: %s did not take an event: %s", target.get("Arn"), refused.message)
    if queue:
        about = {
            "RULE_ARN": rule.get("Arn", ""),
            "TARGET_ARN": target.get("Arn", ""),
            "ERROR_CODE": refused.code,
            "ERROR_MESSAGE": refused.message,
        }
        sender = Sender(rule.get("Arn", ""), target.get("RoleArn"))
        _send(settings, queue, event, about, lambda: _check_queue(queue, sender))


def _check_queue(arn: str, sender: Sender) -> None:
    """Raise DeniedError unless the sender may send to the queue."""
    queue = hooks.private("services.sqs", "_queue_by_arn")(arn) or {}
    sender.check("sqs:SendMessage", arn, queue.get("attributes", {}).get("Policy"))


def _refuse_unknown(name: str, find: Any) -> None:
    deliver = hooks.private(_EVENTS, name)

    def deliver_or_refuse(target: Any, *args: Any) -> None:
        if find(target) is None:
            _refusal.set(Refusal("NO_RESOURCE", f"{target} does not exist"))
            return
        try:
            if name == "_dispatch_to_sqs":
                _check_queue(str(target), _sender.get())
        except permissions.DeniedError as denied:
            _refusal.set(Refusal("NO_PERMISSIONS", str(denied)))
            return
        deliver(target, *args)

    hooks.replace(_EVENTS, name, deliver_or_refuse)


def call_function(arn: str, payload: str, check: Callable[[Any], None]) -> Refusal | None:
    """Invoke a function as `Event` invocations are: those that fail are tried twice more.

    :param check: raises DeniedError where the caller may not; it is given the function's policy.
    :return: why the function was not invoked, if it was not.
    """
    function, config, _ = hooks.private(_FUNCTIONS, "_get_func_record_for_ref")(arn)
    if not function or not config:
        return Refusal("NO_RESOURCE", f"{arn} does not exist")
    try:
        check(hooks.policy_of_function(arn))
    except permissions.DeniedError as denied:
        return Refusal("NO_PERMISSIONS", str(denied))
    record = hooks.private(_FUNCTIONS, "_execution_record_for_config")(function, config)
    hooks.private(_FUNCTIONS, "invoke_async_with_retry")(record, json.loads(payload))
    return None


def _call_target(arn: str, payload: str) -> None:
    sender = _sender.get()
    if refused := call_function(arn, payload, lambda policy: sender.check("lambda:InvokeFunction", arn, policy)):
        _refusal.set(refused)


def _keep_failed_invocations(settings: Settings) -> None:
    """A function's dead-letter queue gets the event as it was; ministack sends what destinations get."""
    route = hooks.private(_FUNCTIONS, "_route_async_failure")

    def route_failure(target: str, name: str, event: Any, result: dict[str, Any]) -> None:
        function = hooks.private(_FUNCTIONS, "_functions").get(name) or {}
        dead_letters = (function.get("config", {}).get("DeadLetterConfig") or {}).get("TargetArn")
        if target != dead_letters or ":sqs:" not in target:
            route(target, name, event, result)
            return
        answer = result.get("body")
        message = answer.get("errorMessage", "") if isinstance(answer, dict) else ""
        role = function["config"]["Role"]
        about = {"ErrorCode": "200", "ErrorMessage": message[:1024]}
        _send(settings, target, event, about, lambda: permissions.check(role, "sqs:SendMessage", [target]))

    hooks.replace(_FUNCTIONS, "_route_async_failure", route_failure)


def _send(settings: Settings, queue: str, event: Any, about: dict[str, str], check: Callable[[], None]) -> None:
    """Send in the background, if `check` does not deny it: this may be the thread that answers requests."""
    threading.Thread(target=_send_now, args=(settings, queue, event, about, check), daemon=True).start()


def _send_now(settings: Settings, queue: str, event: Any, about: dict[str, str], check: Callable[[], None]) -> None:
    client = sqs(settings.endpoint_url)
    attributes = {name: {"DataType": "String", "StringValue": value} for name, value in about.items() if value}
    try:
        check()
        url = client.get_queue_url(QueueName=queue.rpartition(":")[2])["QueueUrl"]
        client.send_message(QueueUrl=url, MessageBody=json.dumps(event), MessageAttributes=attributes)
    except Exception:
        _log.exception("the dead-letter queue %s did not take an event", queue)


def _check_subjects() -> None:
    """https://docs.aws.amazon.com/sns/latest/api/API_Publish.html"""
    publish = hooks.private("services.sns", "_publish")
    parameter = hooks.private("services.sns", "_p")

    def publish_checked(parameters: Any) -> Any:
        subject = parameter(parameters, "Subject")
        if subject and (len(subject) > _LONGEST_SUBJECT or not subject.isprintable()):
            return hooks.private("services.sns", "_error")("InvalidParameter", "Invalid parameter: Subject", 400)
        return publish(parameters)

    hooks.replace("services.sns", "_publish", publish_checked)

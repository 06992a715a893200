"""The one place that touches ministack's private names.

ministack is pinned to an exact version, and every private name used here is looked up at start-up: a release that
renames or reshapes one stops the emulator with a message that names it, instead of misbehaving later.
"""

import asyncio
import contextlib
import contextvars
import importlib
import importlib.metadata
import json
import logging
import queue
import sys
import time
import types
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

WRITTEN_FOR = "1.5.33"
"""The ministack version whose private names these are."""

PRIVATE_NAMES: dict[str, tuple[str, ...]] = {
    "app": (
        "SERVICE_HANDLERS",
        "SERVICE_REGISTRY",
        "_build_persistence_save_dict",
        "_docker_socket_present",
        "_reaper_docker_client",
        "_state_map",
        "fix_success_content_type",
        "pin_request_origin",
    ),
    "core.iam_actions": ("SERVICE_TO_IAM_NAMESPACE", "_BOTOCORE_SERVICE_MAP", "extract_resource_arn"),
    "core.iam_evaluator": (
        "EvalContext",
        "_gather_role_policies",
        "enforce",
        "evaluate",
        "evaluate_resource_policy",
    ),
    "core.persistence": ("save_state",),
    "core.router": ("SERVICE_PATTERNS",),
    "core.lambda_runtime": (
        "_PYTHON_WORKER_SCRIPT",
        "Worker._drain_stderr_bounded",
        "_worker_key",
        "_workers",
        "acquire_worker",
        "ensure_spawned",
        "release_worker",
        "subprocess",
    ),
    "core.responses": ("_service_model", "json_response"),
    "services.alb": (
        "_action_xml",
        "_execute_action",
        "_forward_to_tg",
        "_p",
        "_parse_actions",
        "_rules",
        "_targets",
    ),
    "services.apigateway_v1": (
        "_invoke_lambda_custom_v1",
        "_invoke_lambda_proxy_v1",
        "_lambda_proxy_response",
        "_parse_service_integration_uri",
        "_select_service_integration_response",
        "handle_execute",
    ),
    "services.batch": ("_DISPATCH",),
    "services.cloudformation.provisioners": (
        "_RESOURCE_HANDLERS",
        "_apigw_method_settings",
        "_physical_name",
        "_cw_metric_alarm_record",
    ),
    "services.cloudwatch": (
        "_alarms",
        "_calc_stats",
        "_dims_key",
        "_dispatch_alarm_actions",
        "_evaluate_alarm",
        "_evaluate_all_alarms",
        "_evaluate_parent_alarms",
        "_metrics",
        "_put_metric_alarm",
        "_put_metric_data",
        "_record_history",
        "_stat_value",
        "_store_datum",
    ),
    "services.cloudwatch_logs": (
        "_append_log_events",
        "_create_log_group",
        "_create_log_stream",
        "_log_groups",
        "_put_log_events",
    ),
    "services.ec2": ("_addresses", "_nat_gateways"),
    "services.ecr": ("_describe_images",),
    "services.eventbridge": (
        "_dispatch_event",
        "_dispatch_to_lambda",
        "_dispatch_to_sns",
        "_dispatch_to_sqs",
        "_dispatch_to_stepfunctions",
        "_invoke_target",
        "_pattern_event_view",
        "_put_events",
    ),
    "services.lambda_svc": (
        "_emit_lambda_logs",
        "_execute_function_warm",
        "_execution_record_for_config",
        "_functions",
        "_get_func_record_for_ref",
        "_route_async_failure",
        "acquire_worker",
        "invoke_async_with_retry",
    ),
    "services.s3": ("_fire_s3_event", "_fire_s3_event_async"),
    "services.sns": ("_error", "_p", "_publish", "_topic_by_arn_any_scope"),
    "services.sqs": ("_queue_by_arn", "_queues", "_refresh_counts"),
    "services.sts": ("register_session",),
    "services.stepfunctions": (
        "_AWS_SDK_ERROR_CODE_OVERRIDES",
        "_AWS_SDK_ERROR_PREFIX",
        "_AWS_SDK_SERVICE_MAP",
        "_SERVICE_DISPATCH",
        "_ExecutionError",
        "_add_event",
        "_apply_input_path",
        "_apply_jsonata_output",
        "_apply_jsonata_template",
        "_apply_output_path",
        "_apply_state_assign",
        "_describe_execution",
        "_emit_execution_status_event",
        "_execute_choice",
        "_execute_map",
        "_execute_parallel",
        "_execute_pass",
        "_execute_task",
        "_execute_wait",
        "_executions",
        "_fail_state_error",
        "_invoke_aws_sdk_integration",
        "_invoke_resource",
        "_invoke_resource_with_timeout",
        "_invoke_with_callback",
        "_run_execution",
        "_run_map_items",
        "_run_parallel_branches",
        "_run_sub_machine",
        "_scaled_sleep",
        "_send_task_heartbeat",
        "_resolve_state_machine_arn",
        "_restore_state",
        "_start_execution",
        "_state_machines",
        "_state_query_language",
        "_stop_execution",
        "_task_tokens",
        "_validate_definition_jsonata",
        "handle_request",
    ),
}

_RESPONSE = tuple[int, dict[str, str], bytes]
_Handler = Callable[[str, str, dict[str, str], bytes, dict[str, Any]], Awaitable[_RESPONSE]]


class HookError(RuntimeError):
    """ministack no longer has a private name that the embedded AWS builds on."""

    def __init__(self, name: str, problem: str = "is missing") -> None:
        installed = importlib.metadata.version("ministack")
        super().__init__(
            f"the private name ministack.{name} {problem}; embedded_aws was written for ministack {WRITTEN_FOR} "
            f"and {installed} is installed. Install ministack=={WRITTEN_FOR} or adapt embedded_aws/hooks.py."
        )


def verify() -> None:
    """Look up every private name that is used; raises HookError for the first one that is missing."""
    for module, names in PRIVATE_NAMES.items():
        for name in names:
            private(module, name)


def private(module: str, name: str) -> Any:
    """ministack's private `name` (`Class.attribute` for a method) of `module`; raises HookError if it is not there."""
    try:
        value: Any = importlib.import_module(f"ministack.{module}")
        for part in name.split("."):
            value = getattr(value, part)
    except (ImportError, AttributeError):
        raise HookError(f"{module}.{name}") from None
    return value


def replace(module: str, name: str, value: Any) -> Any:
    """Put `value` in place of a private name and return what was there; raises HookError if nothing was."""
    former = private(module, name)
    owner, _, attribute = name.rpartition(".")
    setattr(private(module, owner) if owner else importlib.import_module(f"ministack.{module}"), attribute, value)
    return former


# --- services ---------------------------------------------------------------------------------------------------------


def leave_docker_alone() -> None:
    """Keep ministack from looking for, and removing, containers on the user's Docker engine."""
    replace("app", "_docker_socket_present", lambda: False)
    replace("app", "_reaper_docker_client", lambda: None)


def replace_batch(call: Callable[[str, dict[str, Any]], _RESPONSE], operations: list[str]) -> None:
    """Answer the Batch API with `call(operation, parameters)` instead of ministack's stub."""
    dispatch = private("services.batch", "_DISPATCH")
    dispatch.clear()
    for operation in operations:
        dispatch[f"/v1/{operation.lower()}"] = lambda parameters, name=operation: call(name, parameters)


def add_service(name: str, handler: _Handler, target_prefix: str) -> None:
    """Add a service that ministack does not have: JSON calls by target prefix, others by signing name."""
    module = types.ModuleType(f"ministack.services.{name}")
    module.__dict__.update(handle_request=handler, reset=lambda: None, get_state=dict, load_persisted_state=_ignore)
    sys.modules[module.__name__] = module
    private("app", "SERVICE_REGISTRY")[name] = {"module": name}
    private("app", "SERVICE_HANDLERS")[name] = handler
    pattern = {"target_prefixes": [target_prefix], "host_patterns": [], "credential_scope": name}
    replace("core.router", "SERVICE_PATTERNS", {name: pattern, **private("core.router", "SERVICE_PATTERNS")})
    fix_content_type = private("app", "fix_success_content_type")

    def keep_content_type(service: str, *args: Any) -> None:
        """The handler's own content type stands: what a model answers has the type the model gave it."""
        if service != name:
            fix_content_type(service, *args)

    replace("app", "fix_success_content_type", keep_content_type)


def _ignore(_: object) -> None:
    pass


def json_answer(body: dict[str, Any]) -> _RESPONSE:
    """A successful answer of a service with a JSON protocol."""
    answer: _RESPONSE = private("core.responses", "json_response")(body)
    return answer


def keep_state_of(service: str, get: Callable[[], Any], put: Callable[[Any], None]) -> None:
    """Let ministack save and restore a service that is ours."""
    module = importlib.import_module(f"ministack.services.{service}")
    module.__dict__.update(get_state=get, load_persisted_state=put)
    private("app", "_state_map")[service] = service


def keep_state_beside(service: str, get: Callable[[], Any], put: Callable[[Any], None]) -> None:
    """The same of a service that is ours in part and ministack's in part."""
    module = importlib.import_module(f"ministack.services.{service}")
    get_other, put_other = module.get_state, module.load_persisted_state

    def put_both(state: dict[str, Any]) -> None:
        put_other(state.get("others", state))  # all of it, where it was kept before there was a part of ours
        put(state.get("ours", {}))

    keep_state_of(service, lambda: {"others": get_other(), "ours": get()}, put_both)


def states_of_services() -> dict[str, Callable[[], Any]]:
    """What gives the state of each service that has been used, by the name under which it is saved."""
    states: dict[str, Callable[[], Any]] = private("app", "_build_persistence_save_dict")()
    return states


def save_state(service: str, state: Any) -> None:
    """Write what a service holds into its file, whole or not at all."""
    if state is not None:
        private("core.persistence", "save_state")(service, state)


def tell_of_execution(arn: str) -> None:
    """Publish the status of an execution."""
    private("services.stepfunctions", "_emit_execution_status_event")(
        private("services.stepfunctions", "_executions")[arn]
    )


def know_permissions_of_sagemaker() -> None:
    """Make ministack's checks of permissions know SageMaker's calls and the runtime's."""
    private("core.iam_actions", "SERVICE_TO_IAM_NAMESPACE")["sagemaker"] = "sagemaker"
    private("core.iam_actions", "_BOTOCORE_SERVICE_MAP")["sagemaker"] = ["sagemaker-runtime"]


def policy_of_function(arn: str) -> Any:
    """The policy of a function that says who may invoke it."""
    function, _, _ = private("services.lambda_svc", "_get_func_record_for_ref")(arn)
    return (function or {}).get("policy")


def know_images(exists: Callable[[str], bool]) -> None:
    """Make ECR's DescribeImages answer as ECR does: an image for a tag that `exists`, else ImageNotFoundException."""
    from_store = private("services.ecr", "_describe_images")

    def describe_images(request: dict[str, Any]) -> _RESPONSE:
        status, headers, body = from_store(request)
        wanted = request.get("imageIds") or []
        if status != 200 or not wanted or json.loads(body)["imageDetails"]:
            return status, headers, body
        name = request["repositoryName"]
        details = []
        for image_id in wanted:
            tag = image_id.get("imageTag", "")
            if not exists(tag):
                message = f"The image with imageId {{imageTag:'{tag}'}} does not exist within the repository '{name}'"
                return 400, headers, json.dumps({"__type": "ImageNotFoundException", "message": message}).encode()
            details.append({"repositoryName": name, "imageTags": [tag], "imageDigest": f"sha256:{tag}"})
        return 200, headers, json.dumps({"imageDetails": details}).encode()

    replace("services.ecr", "_describe_images", describe_images)


_events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()


def put_event(source: str, detail_type: str, detail: dict[str, Any], resources: list[str]) -> None:
    """Publish an event of an AWS service on the default bus.

    Events are delivered in their order by a thread of their own: callers hold locks that a target may need.
    """
    _events.put({"Source": source, "DetailType": detail_type, "Detail": json.dumps(detail), "Resources": resources})


def deliver_events() -> None:
    """Deliver what `put_event` was given, for ever."""
    put_events = private("services.eventbridge", "_put_events")
    while True:
        event = _events.get()
        try:
            put_events({"Entries": [event]}, allow_aws_source=True)
        except Exception:
            logging.getLogger("embedded_aws").exception("the event %s was not delivered", event["DetailType"])


def name_versions_in_events() -> None:
    """Give S3's events on EventBridge the `version-id` that they carry for objects of a versioned bucket, and the time
    at which the object was complete, not that at which a busy machine came to tell of it.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
    """
    version: contextvars.ContextVar[str | None] = contextvars.ContextVar("version", default=None)
    complete: contextvars.ContextVar[str | None] = contextvars.ContextVar("complete", default=None)
    fire = private("services.s3", "_fire_s3_event")
    fire_later = private("services.s3", "_fire_s3_event_async")
    dispatch = private("services.eventbridge", "_dispatch_event")

    def fire_later_with_time(*args: Any, **kwargs: Any) -> None:
        token = complete.set(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
        try:
            fire_later(*args, **kwargs)  # in a thread, with a copy of this context
        finally:
            complete.reset(token)

    def fire_with_version(*args: Any, **kwargs: Any) -> None:
        token = version.set(kwargs.get("version_id"))
        try:
            fire(*args, **kwargs)
        finally:
            version.reset(token)

    def dispatch_with_version(event: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        if event.get("Source") == "aws.s3" and version.get():
            detail = json.loads(event["Detail"])
            detail["object"]["version-id"] = version.get()
            event = {**event, "Detail": json.dumps(detail), "Time": complete.get() or event["Time"]}
        return dispatch(event, *args, **kwargs)

    replace("services.s3", "_fire_s3_event_async", fire_later_with_time)
    replace("services.s3", "_fire_s3_event", fire_with_version)
    replace("services.eventbridge", "_dispatch_event", dispatch_with_version)


def messages_in_queues() -> dict[str, int]:
    """The names of all queues, and how many messages could be received from each."""
    refresh, counted = private("services.sqs", "_refresh_counts"), {}
    for each in list(private("services.sqs", "_queues").values()):
        refresh(each)
        counted[each["name"]] = int(each["attributes"]["ApproximateNumberOfMessages"])
    return counted


def put_metric(namespace: str, name: str, value: float, unit: str, dimensions: dict[str, str]) -> None:
    """Publish one datum of a service's own CloudWatch metric."""
    put_metrics(namespace, [(name, unit, dimensions, {value: 1})])


def put_metrics(namespace: str, data: list[tuple[str, str, dict[str, str], dict[float, int]]]) -> None:
    """Publish a service's own CloudWatch metrics: name, unit, dimensions, and how often each value was seen."""
    listed = [
        {
            "MetricName": name,
            "Unit": unit,
            "Dimensions": [{"Name": key, "Value": item} for key, item in dimensions.items()],
            "Values": list(seen),
            "Counts": list(seen.values()),
        }
        for name, unit, dimensions, seen in data
    ]
    private("services.cloudwatch", "_put_metric_data")({}, {"Namespace": namespace, "MetricData": listed}, False, True)


def store_metric(
    namespace: str, name: str, values: list[float], unit: str, dimensions: dict[str, str], *, at: float
) -> None:
    """Keep values of a metric, of the time `at` in seconds since 1970; alarms see them when they look next."""
    private("services.cloudwatch", "_store_datum")(
        namespace, name, dimensions, at, unit, None, values, [1.0] * len(values), None
    )


# --- logs -------------------------------------------------------------------------------------------------------------


def log_group_exists(group: str) -> bool:
    """Whether the log group exists."""
    return group in private("services.cloudwatch_logs", "_log_groups")


def create_log_stream(group: str, stream: str) -> None:
    """Create the log stream, and its group when that is missing."""
    if not log_group_exists(group):
        private("services.cloudwatch_logs", "_create_log_group")({"logGroupName": group})
    private("services.cloudwatch_logs", "_create_log_stream")({"logGroupName": group, "logStreamName": stream})


def put_log_events(group: str, stream: str, events: list[tuple[int, str]]) -> None:
    """Append (milliseconds since 1970, message) events; a deleted group or stream swallows them, as on AWS."""
    listed = [{"timestamp": at, "message": message} for at, message in events]
    request = {"logGroupName": group, "logStreamName": stream, "logEvents": listed}
    private("services.cloudwatch_logs", "_put_log_events")(request)


def watch_log_events(see: Callable[[list[str]], None]) -> None:
    """Call `see` with the messages of all log events, after they are stored."""
    append = private("services.cloudwatch_logs", "_append_log_events")

    def append_and_tell(stream: Any, events: list[dict[str, Any]]) -> None:
        append(stream, events)
        see([event["message"] for event in events])

    replace("services.cloudwatch_logs", "_append_log_events", append_and_tell)


# --- CloudFormation ---------------------------------------------------------------------------------------------------


def resource_handlers() -> dict[str, dict[str, Callable[..., Any]]]:
    """CloudFormation's handlers by resource type: create(logical_id, properties, stack), update, delete."""
    handlers: dict[str, dict[str, Callable[..., Any]]]
    handlers = private("services.cloudformation.provisioners", "_RESOURCE_HANDLERS")
    return handlers


def physical_name(stack: str, logical_id: str, max_length: int) -> str:
    """The stable name CloudFormation gives a resource whose template names none."""
    return str(private("services.cloudformation.provisioners", "_physical_name")(stack, logical_id, max_len=max_length))


def ec2_addresses() -> Any:
    """EC2's store of Elastic IP addresses by allocation id."""
    return private("services.ec2", "_addresses")


def ec2_nat_gateways() -> Any:
    """EC2's store of NAT gateways by id."""
    return private("services.ec2", "_nat_gateways")


def keep_metric_queries() -> None:
    """Let alarms on expressions deploy, by templates and by PutMetricAlarm, and keep the queries in `Metrics`.

    ministack wants a metric's name: theirs is the expression.
    """
    from_template = private("services.cloudformation.provisioners", "_cw_metric_alarm_record")
    put = private("services.cloudwatch", "_put_metric_alarm")

    def record(name: str, properties: dict[str, Any]) -> Any:
        queries = properties.get("Metrics")
        if not queries:
            return from_template(name, properties)
        named = {"Metrics": None, "Namespace": "", "MetricName": ""} | _named(queries)
        return {**from_template(name, {**properties, **named}), "Metrics": _numbers(queries)}

    def put_alarm(params: Any, request: dict[str, Any], *protocol: Any) -> Any:
        queries = request.get("Metrics")
        answer = put(params, {**request, **_named(queries)} if queries else request, *protocol)
        if queries:
            private("services.cloudwatch", "_alarms")[request["AlarmName"]]["Metrics"] = queries
        return answer

    replace("services.cloudformation.provisioners", "_cw_metric_alarm_record", record)
    replace("services.cloudwatch", "_put_metric_alarm", put_alarm)


def _named(queries: list[dict[str, Any]]) -> dict[str, str]:
    expression = ", ".join(str(query.get("Expression", query["Id"])) for query in queries)
    return {"Namespace": "MetricMath", "MetricName": expression}


def _numbers(queries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A template may hold numbers as text."""
    return [{**query, "Period": int(query.get("Period") or 60)} for query in queries]


# --- Lambda -----------------------------------------------------------------------------------------------------------

_END_OF_LOG = "\x1e"
_ERROR_KEY = "__embedded_aws_error__"
_RETURN = '_real_stdout.write(json.dumps({"status": "ok", "result": result})'
_RAISE = '_real_stdout.write(json.dumps({"status": "error", "error": str(e), "trace": traceback.format_exc()})'


def report_lambda_errors_as_aws_does() -> None:
    """Errors of a Python function carry the exception's own type and leave the process warm, as on AWS.

    The worker also marks the end of each invocation's log, so that none waits for lines that never come.
    """
    script = private("core.lambda_runtime", "_PYTHON_WORKER_SCRIPT")
    for needle in (_RETURN, _RAISE):
        if needle not in script:
            raise HookError("core.lambda_runtime._PYTHON_WORKER_SCRIPT", f"no longer contains {needle!r}")
    end = "sys.stderr.write(chr(30) + chr(10)); sys.stderr.flush(); "
    details = (
        '{"errorMessage": str(e), "errorType": type(e).__name__, "requestId": _ms_ctx.get("request_id", ""),'
        ' "stackTrace": traceback.format_tb(e.__traceback__)}'
    )
    failed = (
        f'traceback.print_exc(); {end}_real_stdout.write(json.dumps({{"status": "ok", '
        f'"result": {{"{_ERROR_KEY}": {details}}}}})'
    )
    script = script.replace(_RETURN, end + _RETURN).replace(_RAISE, failed)
    replace("core.lambda_runtime", "_PYTHON_WORKER_SCRIPT", script)

    drain = private("core.lambda_runtime", "Worker._drain_stderr_bounded")

    def drain_to_mark(worker: Any) -> str:
        if not str(worker.config.get("Runtime", "")).startswith("python"):
            return str(drain(worker))
        lines: list[str] = []
        try:
            while (line := worker._stderr_queue.get(timeout=0.25)) != _END_OF_LOG:
                lines.append(line)
        except Exception:
            return "\n".join(lines)  # the worker died before its mark
        return "\n".join(lines)

    replace("core.lambda_runtime", "Worker._drain_stderr_bounded", drain_to_mark)

    execute = private("services.lambda_svc", "_execute_function_warm")

    def execute_warm(*args: Any, **kwargs: Any) -> Any:
        result = execute(*args, **kwargs)
        body = result.get("body")
        if isinstance(body, dict) and _ERROR_KEY in body:
            return {"body": body[_ERROR_KEY], "error": True, "log": result.get("log", "")}
        return result

    replace("services.lambda_svc", "_execute_function_warm", execute_warm)


def set_dead_letters(name: str, queue: str | None) -> None:
    """Where events go that a function failed on."""
    function = private("services.lambda_svc", "_functions").get(name)
    if function:
        function["config"]["DeadLetterConfig"] = {"TargetArn": queue} if queue else {}


_BUSY_SECONDS = 0.3
"""How long an invocation waits for a process that is busy."""

_START_SECONDS = 10.0
"""And for one that is starting."""

_WARMING_UP = ThreadPoolExecutor(1, "warm-up")


def warm_up_function(name: str) -> None:
    """Start the function's first process in the background, so that its first invocation finds it ready.

    One function at a time: whatever deploys them needs a processor too.
    """
    function = private("services.lambda_svc", "_functions").get(name)
    if not function or not function.get("code_zip") or "python" not in function["config"].get("Runtime", ""):
        return
    acquire = private("core.lambda_runtime", "acquire_worker")
    spawn = private("core.lambda_runtime", "ensure_spawned")
    release = private("core.lambda_runtime", "release_worker")
    worker, _ = acquire(name, function["config"], function["code_zip"])
    release(worker)  # An invocation that comes before takes this process, and starts it, rather than another.

    def start() -> None:
        with contextlib.suppress(RuntimeError):  # A function that cannot be imported says so when it is invoked.
            spawn(worker)

    _WARMING_UP.submit(start)


def start_functions_by(popen: Callable[..., Any]) -> None:
    """Have processes of functions started by this in place of `subprocess.Popen`."""
    names = vars(private("core.lambda_runtime", "subprocess"))
    replace("core.lambda_runtime", "subprocess", types.SimpleNamespace(**{**names, "Popen": popen}))


def start_functions_once() -> None:
    """Have an invocation wait a moment for a process of its function before another is started.

    Events come in bursts, and to start a process takes longer, and more of a laptop, than what most invocations do.
    """
    key_of, pools = private("core.lambda_runtime", "_worker_key"), private("core.lambda_runtime", "_workers")

    def acquire_patiently(name: str, config: dict[str, Any], code: bytes, qualifier: str = "$LATEST") -> Any:
        key = key_of(name, config, qualifier)
        given_up = time.monotonic() + _START_SECONDS
        busy_until = time.monotonic() + _BUSY_SECONDS
        while (processes := list(pools.get(key, ()))) and all(process.in_use for process in processes):
            now = time.monotonic()
            if any(process._cold for process in processes):
                busy_until = now + _BUSY_SECONDS
            if now > min(busy_until, given_up):
                break
            time.sleep(0.01)
        return acquire(name, config, code, qualifier=qualifier)

    acquire = replace("services.lambda_svc", "acquire_worker", acquire_patiently)


def load_models() -> None:
    """Read the API models that state machines' SDK calls need, before the first of them asks."""
    private("core.responses", "_service_model")("sagemaker")


# --- running ----------------------------------------------------------------------------------------------------------


async def serve(port: int, wrap: Callable[[Any], Any]) -> None:
    """Serve ministack's ASGI application, wrapped, on 127.0.0.1 for ever."""
    from hypercorn.asyncio import serve as hypercorn_serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.keep_alive_timeout = 75
    config.loglevel = "WARNING"
    application = importlib.import_module("ministack.app").app
    await hypercorn_serve(wrap(application), config, shutdown_trigger=asyncio.Event().wait)

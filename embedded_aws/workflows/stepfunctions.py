"""Step Functions: Batch and SageMaker tasks, stopping for real, redrive, time limits, metrics, and a full history.

ministack interprets the states; this module replaces its walk through them.
https://docs.aws.amazon.com/step-functions/latest/dg/concepts-amazon-states-language.html
"""

import contextlib
import contextvars
import copy
import datetime
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from embedded_aws import hooks
from embedded_aws.access import permissions, resources
from embedded_aws.casing import lower_first, upper_first
from embedded_aws.clients import s3
from embedded_aws.compute.batch import Batch, BatchError
from embedded_aws.settings import Settings
from embedded_aws.workflows import bookmarks, scopes
from embedded_aws.workflows.bookmarks import Bookmark

_MODULE = "services.stepfunctions"
_PAYLOAD_LIMIT = 262_144
_METRICS = {
    "RUNNING": "ExecutionsStarted",
    "SUCCEEDED": "ExecutionsSucceeded",
    "FAILED": "ExecutionsFailed",
    "TIMED_OUT": "ExecutionsTimedOut",
    "ABORTED": "ExecutionsAborted",
}
_REDRIVABLE = ("FAILED", "TIMED_OUT", "ABORTED")
_State = dict[str, Any]
_Response = tuple[int, dict[str, str], bytes]


@dataclass
class _Redrives:
    """How often an execution was redriven."""

    definition: str
    """What its machine was when it began: a redrive keeps it."""
    count: int = 0
    at: str = ""
    token: str | None = None
    walk: threading.Event = field(default_factory=threading.Event)
    """Set while no thread walks through its states."""


class StepFunctions:
    """Installs itself into ministack's interpreter."""

    def __init__(self, settings: Settings, batch: Batch, keep: Callable[[_State], None] | None = None) -> None:
        """`keep` is called with an execution before it has ended for anybody."""
        self._settings = settings
        self._batch = batch
        self._scopes: dict[str, scopes.Scope] = {}
        self._bookmarks: dict[str, Bookmark] = {}
        self._redrives: dict[str, _Redrives] = {}
        self._history = threading.Lock()
        self._ending = threading.Lock()
        self._keep = keep
        self.error: Any = hooks.private(_MODULE, "_ExecutionError")
        self._states = {
            "Pass": hooks.private(_MODULE, "_execute_pass"),
            "Choice": hooks.private(_MODULE, "_execute_choice"),
            "Wait": hooks.private(_MODULE, "_execute_wait"),
        }
        self._branching = {
            "Task": self._task,
            "Map": hooks.private(_MODULE, "_execute_map"),
            "Parallel": hooks.private(_MODULE, "_execute_parallel"),
        }
        self._execute_task = hooks.private(_MODULE, "_execute_task")
        self._template = hooks.private(_MODULE, "_apply_jsonata_template")

    def install(self) -> None:
        """Put this walk, and what it needs, in place of ministack's."""
        dispatch = hooks.private(_MODULE, "_SERVICE_DISPATCH")
        dispatch["arn:aws:states:::batch:submitJob"] = self._submit_job
        hooks.private(_MODULE, "_AWS_SDK_SERVICE_MAP")["sagemaker"] = {"target_prefix": "SageMaker", "protocol": "json"}
        hooks.private(_MODULE, "_AWS_SDK_ERROR_PREFIX").update(sagemaker="SageMaker", batch="Batch")
        # SageMaker's model names no ValidationException, so the SDK's general one is what a state machine sees.
        hooks.private(_MODULE, "_AWS_SDK_ERROR_CODE_OVERRIDES")["sagemaker"] = {
            "ValidationException": "SageMakerException"
        }
        for name, value in {
            "_add_event": self._add_event,
            "_apply_state_assign": self._assign,
            "_run_execution": self._run_execution,
            "_emit_execution_status_event": self._tell,
            "_run_sub_machine": self._run_branch,
            "_scaled_sleep": self._sleep,
            "_invoke_resource_with_timeout": self._invoke_with_timeout,
        }.items():
            hooks.replace(_MODULE, name, value)
        self._stop_after(hooks.private(_MODULE, "_stop_execution"))
        self._scope_branches("_run_map_items", "Map")
        self._evaluate_parallel(hooks.private(_MODULE, "_run_parallel_branches"))
        self._scope_branches("_run_parallel_branches", "Parallel")
        self._answer_sdk_calls(hooks.private(_MODULE, "_invoke_aws_sdk_integration"))
        self._answer_redrives(hooks.private(_MODULE, "handle_request"))

    # --- the walk -----------------------------------------------------------------------------------------------------

    def _run_execution(self, execution_arn: str) -> None:
        """Take an execution from its first state to its end."""
        execution = hooks.private(_MODULE, "_executions")[execution_arn]
        machine = hooks.private(_MODULE, "_state_machines")[execution["stateMachineArn"]]
        scope = scopes.Scope(execution)
        self._scopes[execution_arn] = scope
        scopes.enter(scope)
        if execution["status"] != "RUNNING":
            scope.cancel()
        bookmark = self._bookmarks.setdefault(execution_arn, Bookmark())
        redrives = self._known(execution)
        redrives.walk.clear()
        try:
            definition = json.loads(redrives.definition)
            start = json.loads(execution["input"])
            context = {
                "QueryLanguage": definition.get("QueryLanguage", "JSONPath"),
                "Execution": {
                    "Id": execution_arn,
                    "Input": start,
                    "Name": execution["name"],
                    "RoleArn": machine["roleArn"],
                    "StartTime": execution["startDate"],
                    "RedriveCount": redrives.count,
                    **({"RedriveTime": redrives.at} if redrives.at else {}),
                },
                "StateMachine": {"Id": execution["stateMachineArn"], "Name": machine["name"]},
                "variables": {},
            }
            with self._time_limit(definition.get("TimeoutSeconds"), execution, scope):
                output = self._walk(definition, start, execution, context, bookmark)
        except scopes.Cancelled:
            return
        except self.error as error:
            if not scope.cancelled:  # it was ended, and may have been redriven since
                self._end(execution, "FAILED", error=error.error, cause=error.cause)
        except Exception as error:
            if not scope.cancelled:
                self._end(execution, "FAILED", error="States.Runtime", cause=f"{type(error).__name__}: {error}")
        else:
            self._end(execution, "SUCCEEDED", output=json.dumps(output))
        finally:
            self._scopes.pop(execution_arn, None)
            redrives.walk.set()

    def _walk(self, machine: _State, data: Any, execution: _State, context: _State, bookmark: Bookmark) -> Any:
        """Run the states of a machine or a branch; the result is the output of its last state."""
        with bookmarks.held(bookmark):
            return self._walk_on(machine, data, execution, context, bookmark)

    def _walk_on(self, machine: _State, data: Any, execution: _State, context: _State, bookmark: Bookmark) -> Any:
        scope = scopes.current()
        name = machine.get("StartAt")
        if bookmark.is_redriven:
            name, data = bookmark.state, bookmark.data
            context["variables"] = dict(bookmark.variables)
        while name:
            if scope:
                scope.check()
            state = machine["States"].get(name)
            if state is None:
                raise self.error("States.Runtime", f"The state '{name}' does not exist")
            kind = state["Type"]
            if not bookmark.is_redriven:
                bookmark.enter(name, data, context["variables"])
            bookmark.is_redriven = bookmark.is_redriven and kind in ("Map", "Parallel")
            context["State"] = {"Name": name, "EnteredTime": _timestamp(), "RetryCount": 0}
            self._event(execution, f"{kind}StateEntered", "stateEntered", name=name, input=_dumped(data))
            if kind == "Fail":
                raise self.error(*hooks.private(_MODULE, "_fail_state_error")(state, data, context))
            data, following = self._run_state(kind, state, data, execution, context)
            if scope:
                scope.check()
            text = _dumped(data)
            if len(text.encode()) > _PAYLOAD_LIMIT:
                bookmark.branches.clear()  # a redrive runs all of them again
                raise self.error(
                    "States.DataLimitExceeded",
                    f"The state/task '{name}' returned a result with a size exceeding the maximum number of bytes "
                    "service limit.",
                )
            self._event(execution, f"{kind}StateExited", "stateExited", name=name, output=text)
            name = following
        if scope:
            scope.check()
        return data

    def _run_state(self, kind: str, state: _State, data: Any, execution: _State, context: _State) -> tuple[Any, Any]:
        if kind == "Succeed":
            return self._succeed(state, data, context), None
        if kind in self._branching:
            result = self._branching[kind](state, data, execution, context)
        elif kind in self._states:
            result = self._states[kind](state, data, context)
        else:
            raise self.error("States.Runtime", f"Unknown state type: {kind}")
        output, following = result
        return output, following

    def _succeed(self, state: _State, data: Any, context: _State) -> Any:
        if hooks.private(_MODULE, "_state_query_language")(state, context) == "JSONata":
            return hooks.private(_MODULE, "_apply_jsonata_output")(state, data, context, default=data)
        selected = hooks.private(_MODULE, "_apply_input_path")(state, data, context)
        return hooks.private(_MODULE, "_apply_output_path")(state, selected, context)

    def _task(self, state: _State, data: Any, execution: _State, context: _State) -> Any:
        """A Task state; its time limits may be JSONata expressions."""
        limits = {
            field: self._template(state[field], data, context)
            for field in ("TimeoutSeconds", "HeartbeatSeconds")
            if isinstance(state.get(field), str)
        }
        return self._execute_task({**state, **limits}, data, execution, context)

    def _run_branch(self, states: _State, start: str, data: Any, execution: _State, context: _State) -> Any:
        """One iteration of a Map state or one branch of a Parallel state."""
        scope = scopes.current()
        position = context["Map"]["Item"]["Index"] if scope and scope.kind == "Map" else None
        iteration = {"name": context["State"]["Name"], "index": position}
        parent = bookmarks.current()
        bookmark = parent.branch(parent.position_of(states) if position is None else position)
        if bookmark.is_finished:
            return copy.deepcopy(bookmark.output)  # in the attempt before
        context = {**context, "variables": dict(context["variables"])}  # branches do not see each other's
        if position is not None:
            self._event(execution, "MapIterationStarted", "mapIterationStarted", **iteration)
        try:
            output = self._walk({"States": states, "StartAt": start}, data, execution, context, bookmark)
        except scopes.Cancelled:
            return None  # Whoever cancelled decides how the state ends.
        except Exception:
            if position is not None:
                self._event(execution, "MapIterationFailed", "mapIterationFailed", **iteration)
            if scope:
                scope.cancel()  # The first failure ends the other branches.
            raise
        if position is not None:
            self._event(execution, "MapIterationSucceeded", "mapIterationSucceeded", **iteration)
        bookmark.is_finished, bookmark.output = True, copy.deepcopy(output)
        return output

    def _scope_branches(self, name: str, kind: str) -> None:
        run = hooks.private(_MODULE, name)

        def run_in_scope(state: _State, data: Any, execution: _State, context: _State) -> Any:
            self._event(execution, f"{kind}StateStarted", f"{kind.lower()}StateStarted")
            bookmarks.current().begin_branches([branch["States"] for branch in state.get("Branches", [])])
            outer = scopes.current()
            if outer is None:
                return run(state, data, execution, context)
            try:
                with outer.child(kind):
                    result = run(state, data, execution, context)
            finally:
                outer.check()
            return result

        hooks.replace(_MODULE, name, run_in_scope)

    def _evaluate_parallel(self, run: Callable[..., Any]) -> None:
        """Arguments, Output and Assign of a Parallel state in JSONata."""

        def run_parallel(state: _State, data: Any, execution: _State, context: _State) -> Any:
            if hooks.private(_MODULE, "_state_query_language")(state, context) != "JSONata":
                return run(state, data, execution, context)
            given = self._template(state["Arguments"], data, context) if "Arguments" in state else data
            results, following = run(state, given, execution, context)
            output = hooks.private(_MODULE, "_apply_jsonata_output")(
                state, data, context, result=results, default=results
            )
            self._assign(state, data, context, result=results)
            return output, following

        hooks.replace(_MODULE, "_run_parallel_branches", run_parallel)

    def _sleep(self, seconds: float) -> None:
        scope = scopes.current()
        scaled = max(0.0, seconds * self._settings.wait_scale)
        if scope:
            scope.wait(scaled)
        else:
            threading.Event().wait(scaled)

    def _assign(
        self, state: _State, data: Any, context: _State | None, result: Any = None, error_output: Any = None
    ) -> None:
        """Assign sees the variables as they were when the state was entered, whatever the order of its entries."""
        assigned = state.get("Assign")
        if context is None or not isinstance(assigned, dict):
            return
        if hooks.private(_MODULE, "_state_query_language")(state, context) != "JSONata":
            return
        context["variables"].update(self._template(assigned, data, context, result=result, error_output=error_output))

    # --- the end ------------------------------------------------------------------------------------------------------

    def _end(self, execution: _State, status: str, **details: Any) -> None:
        """Enter a final status, unless the execution has one."""
        kind = {"SUCCEEDED": "Succeeded", "FAILED": "Failed", "TIMED_OUT": "TimedOut"}[status]
        with self._ending:
            if execution["status"] != "RUNNING":
                return
            self._event(execution, f"Execution{kind}", f"execution{kind}", **details)
            end = {"status": status, "stopDate": _timestamp(), **details}
            if self._keep:
                self._keep({**execution, **end})
            execution.update(end)
        self._tell(execution)

    @contextlib.contextmanager
    def _time_limit(self, seconds: float | None, execution: _State, scope: scopes.Scope) -> Iterator[None]:
        """The execution ends as TIMED_OUT, and its work with it, unless the block is left in time."""
        if seconds is None:
            yield
            return

        def time_out() -> None:
            self._end(execution, "TIMED_OUT", error="States.Timeout", cause="")
            scope.cancel()

        timer = threading.Timer(float(seconds), time_out)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _stop_after(self, stop: Callable[[_State], Any]) -> None:
        def stop_execution(request: _State) -> Any:
            answer = stop(request)
            scope = self._scopes.get(request.get("executionArn", ""))
            if scope and scope.execution["status"] == "ABORTED":
                scope.cancel()
            return answer

        hooks.replace(_MODULE, "_stop_execution", stop_execution)

    def _tell(self, execution: _State) -> None:
        """Publish a change of an execution's status, as an event and as metrics.

        https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
        """
        redrives = self._redrives.get(execution["executionArn"])
        if not execution.get("sync"):
            detail = _status_change(execution, redrives)
            hooks.put_event("aws.states", "Step Functions Execution Status Change", detail, [execution["executionArn"]])
        if execution["status"] == "RUNNING" and redrives:
            return  # it counts once as started
        machine = {"StateMachineArn": execution["stateMachineArn"]}
        hooks.put_metric("AWS/States", _METRICS[execution["status"]], 1, "Count", machine)
        if execution.get("stopDate"):
            took = _moment(execution["stopDate"]) - _moment(execution["startDate"])
            hooks.put_metric("AWS/States", "ExecutionTime", took.total_seconds() * 1000, "Milliseconds", machine)

    # --- redrive ------------------------------------------------------------------------------------------------------

    def _answer_redrives(self, handle: Callable[..., Any]) -> None:
        """RedriveExecution, which ministack lacks, and what DescribeExecution says of it."""

        async def handle_request(method: str, path: str, headers: dict[str, str], body: bytes, query: Any) -> Any:
            if headers.get("x-amz-target", "").endswith(".RedriveExecution"):
                return self._redrive(json.loads(body))
            return await handle(method, path, headers, body, query)

        describe = hooks.private(_MODULE, "_describe_execution")

        def describe_execution(request: _State) -> _Response:
            status, headers, body = describe(request)
            if status != 200:
                return status, headers, body
            document = json.loads(body)
            document.update(_redrive_state(document, self._redrives.get(document["executionArn"])))
            return status, headers, json.dumps(document).encode()

        hooks.replace(_MODULE, "handle_request", handle_request)
        hooks.replace(_MODULE, "_describe_execution", describe_execution)

    def _known(self, execution: _State) -> "_Redrives":
        machine = hooks.private(_MODULE, "_state_machines")[execution["stateMachineArn"]]
        return self._redrives.setdefault(execution["executionArn"], _Redrives(definition=machine["definition"]))

    def _redrive(self, request: _State) -> _Response:
        """Go on with an execution that did not succeed, from the step that did not.

        https://docs.aws.amazon.com/step-functions/latest/apireference/API_RedriveExecution.html
        """
        arn = request.get("executionArn", "")
        execution = hooks.private(_MODULE, "_executions").get(arn)
        if execution is None:
            return _refused("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")
        redrives = self._known(execution)
        token = request.get("clientToken")
        with self._history:
            if token and token == redrives.token:
                return _answered({"redriveDate": _moment(redrives.at).timestamp()})
            if execution["status"] not in _REDRIVABLE:
                return _refused("ExecutionNotRedrivable", f"Execution is {execution['status']} and cannot be redriven")
            execution.update(status="RUNNING", stopDate=None, output=None, error=None, cause=None)
            redrives.count, redrives.at, redrives.token = redrives.count + 1, _timestamp(), token
        self._event(execution, "ExecutionRedriven", "executionRedriven", redriveCount=redrives.count)
        self._tell(execution)

        def go_on() -> None:
            redrives.walk.wait()  # of an aborted execution a step may still be at its end
            self._bookmarks[arn].redrive()
            self._run_execution(arn)

        threading.Thread(target=contextvars.copy_context().run, args=(go_on,), daemon=True).start()
        return _answered({"redriveDate": _moment(redrives.at).timestamp()})

    # --- the history --------------------------------------------------------------------------------------------------

    def _event(self, execution: _State, kind: str, details_name: str, **details: Any) -> None:
        known = {key: value for key, value in details.items() if value is not None}
        self._add_event(execution, kind, {f"{details_name}EventDetails": known})

    def _add_event(self, execution: _State, kind: str, details: _State | None = None) -> _State:
        """Append to the history: ids in order also when branches run side by side, resources in AWS's form."""
        for part in (details or {}).values():
            resource = part.get("resource", "")
            if resource.startswith("arn:aws:states:::"):
                service, _, action = resource.removeprefix("arn:aws:states:::").rpartition(":")
                part.update(resourceType=service, resource=action)
            elif ":lambda:" in resource:
                part.update(resourceType="lambda")
        with self._history:
            number = len(execution["events"]) + 1
            event = {
                "id": number,
                "previousEventId": number - 1,
                "type": kind,
                "timestamp": _timestamp(),
                **(details or {}),
            }
            if execution["status"] == "RUNNING" or kind.startswith("Execution"):  # nothing follows the end
                execution["events"].append(event)
        return event

    # --- tasks --------------------------------------------------------------------------------------------------------

    def _invoke_with_timeout(self, resource: str, arguments: Any, seconds: float) -> Any:
        """A task with a time limit: what it started is undone when the limit passes."""
        outer = scopes.current()
        invoke = hooks.private(_MODULE, "_invoke_resource")
        pool = ThreadPoolExecutor(max_workers=1)
        try:
            if outer is None:
                return pool.submit(contextvars.copy_context().run, invoke, resource, arguments).result(seconds)
            with outer.child("Task") as inner:
                try:
                    return pool.submit(contextvars.copy_context().run, invoke, resource, arguments).result(seconds)
                except FutureTimeoutError:
                    inner.cancel()
                    raise
        except FutureTimeoutError:
            raise self.error("States.Timeout", "") from None
        finally:
            pool.shutdown(wait=False)

    def _submit_job(self, resource: str, arguments: _State) -> Any:
        """batch:submitJob, and with .sync its job as DescribeJobs shows it in the end.

        https://docs.aws.amazon.com/step-functions/latest/dg/connect-batch.html
        """
        submitted = self._call_batch("SubmitJob", arguments)
        scope = scopes.current()
        if scope:
            details = {"resourceType": "batch", "resource": resource.rpartition(":")[2], "output": _dumped(submitted)}
            self._event(scope.execution, "TaskSubmitted", "taskSubmitted", **details)
        if not resource.endswith(".sync"):
            return submitted
        job_id = submitted["JobId"]
        finished = self._batch.wait(job_id)

        if scope is None:
            finished.wait()
        else:
            reason = "The Step Functions task that waited for the job was stopped"
            with scope.on_cancel(lambda: self._terminate(scope.execution, job_id, reason)):
                while not finished.wait(0.2):
                    scope.check()
            scope.check()  # terminated with its task: the job's end is nobody's result
        job = upper_first(self._batch.call("DescribeJobs", {"jobs": [job_id]})["jobs"][0])
        if job["Status"] == "FAILED":
            raise self.error("States.TaskFailed", json.dumps(job))
        return job

    def _terminate(self, execution: _State, job_id: str, reason: str) -> None:
        try:
            permissions.check(
                scopes.role_of(execution), "batch:TerminateJob", resources.batch("TerminateJob", {"jobId": job_id})
            )
        except permissions.DeniedError:
            return  # the job runs on, as it would in an account
        self._batch.call("TerminateJob", {"jobId": job_id, "reason": reason})

    def _call_batch(self, operation: str, arguments: _State) -> _State:
        try:
            answer: _State = upper_first(self._batch.call(operation, lower_first(arguments or {})))
            return answer
        except BatchError as error:
            raise self.error(f"Batch.{error.code}", _with_request(str(error), "Batch", error.status)) from None

    def _answer_sdk_calls(self, call: Callable[[str, _State], Any]) -> None:
        """aws-sdk tasks that ministack does not know: Batch, and S3's objects."""

        def invoke(resource: str, arguments: _State) -> Any:
            service, _, action = resource.partition("aws-sdk:")[2].partition(":")
            if service == "batch":
                return self._call_batch(action[:1].upper() + action[1:], arguments)
            if (service, action) == ("s3", "getObject"):
                return self._s3("get_object", arguments)
            if (service, action) == ("s3", "putObject"):
                body = arguments.get("Body", "")
                text = body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))
                return self._s3("put_object", {**arguments, "Body": text.encode()})
            try:
                return call(resource, arguments)
            except self.error as error:
                if service == "sagemaker" and error.error.startswith("SageMaker."):
                    raise self.error(error.error, _with_request(error.cause, "SageMaker", 400)) from None
                raise

        hooks.replace(_MODULE, "_invoke_aws_sdk_integration", invoke)

    @staticmethod
    def _role() -> str | None:
        scope = scopes.current()
        return scopes.role_of(scope.execution) if scope else None

    def _s3(self, operation: str, arguments: _State) -> _State:
        wire = {{"ETag": "ETag", "SseCustomerKey": "SSECustomerKey"}.get(key, key): arguments[key] for key in arguments}
        try:
            answer = getattr(s3(self._settings.endpoint_url, self._role()), operation)(**wire)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            name = "S3Exception" if code in ("AccessDenied", "403") else f"{code.removesuffix('Exception')}Exception"
            raise self.error(f"S3.{name}", _with_request(error.response["Error"]["Message"], "S3", status)) from None
        answer.pop("ResponseMetadata")
        if "Body" in answer:
            answer["Body"] = answer["Body"].read().decode("utf-8")
        return {key: _dated(value) for key, value in answer.items()}


def _status_change(execution: _State, redrives: _Redrives | None) -> _State:
    """The detail of a "Step Functions Execution Status Change"."""
    shown = {name: execution.get(name) for name in ("executionArn", "stateMachineArn", "name", "status", "input")}
    over = execution["status"] in _REDRIVABLE
    state = _redrive_state(execution, redrives)
    at = state.pop("redriveDate", None)
    return {
        **shown,
        "startDate": round(_moment(execution["startDate"]).timestamp() * 1000),
        "stopDate": round(_moment(execution["stopDate"]).timestamp() * 1000) if execution.get("stopDate") else None,
        "inputDetails": {"included": True},
        "output": execution.get("output") if execution["status"] == "SUCCEEDED" else None,
        "error": execution.get("error") if over else None,
        "cause": execution.get("cause") if over else None,
        "redriveDate": None if at is None else round(at * 1000),
        **state,
    }


def _redrive_state(execution: _State, redrives: _Redrives | None) -> _State:
    """What is said of redrives wherever an execution is described."""
    status = execution["status"]
    redrivable = status in _REDRIVABLE
    return {
        "redriveCount": redrives.count if redrives else 0,
        **({"redriveDate": _moment(redrives.at).timestamp()} if redrives and redrives.at else {}),
        "redriveStatus": "REDRIVABLE" if redrivable else "NOT_REDRIVABLE",
        **({} if redrivable else {"redriveStatusReason": f"Execution is {status} and cannot be redriven"}),
    }


def _answered(document: _State) -> _Response:
    return 200, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(document).encode()


def _refused(error: str, message: str) -> _Response:
    body = json.dumps({"__type": error, "message": message}).encode()
    return 400, {"Content-Type": "application/x-amz-json-1.0", "x-amzn-errortype": error}, body


def _dated(value: Any) -> Any:
    return (
        value.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")
        if isinstance(value, datetime.datetime)
        else value
    )


def _with_request(message: str, service: str, status: int) -> str:
    return f"{message} (Service: {service}, Status Code: {status}, Request ID: {uuid.uuid4()})"


def _dumped(data: Any) -> str:
    return json.dumps(data, separators=(",", ":"))


def _timestamp() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _moment(timestamp: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(timestamp.replace("Z", "+00:00"))

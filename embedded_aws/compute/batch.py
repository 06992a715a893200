"""AWS Batch whose containers are local processes.

Compute environments, job queues, job definitions and jobs as in
https://docs.aws.amazon.com/batch/latest/APIReference/Welcome.html
"""

import contextlib
import copy
import re
import threading
from collections.abc import Callable
from typing import Any

from embedded_aws import hooks
from embedded_aws.compute.jobs import DEFAULT_LOG_GROUP, FINISHED, WAITING, Job, JobRunner, Place, ended_job, new_record
from embedded_aws.compute.retries import problem as retry_problem
from embedded_aws.processes.images import ImageNotFoundError, resolve
from embedded_aws.processes.process import GroupRegister, LogShipper
from embedded_aws.settings import Settings, arn

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_NEVER_FITS = {
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE": (
        "The job requires more vCPUs than the maximum of any CE attached to the job queue."
    ),
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT": (
        "The job resource requirement (vCPU/memory/GPU) is higher than that can be met by the CE(s) attached to the "
        "job queue."
    ),
}
"""https://docs.aws.amazon.com/batch/latest/userguide/job_stuck_in_runnable.html"""

_AS_DECLARED = ("linuxParameters", "readonlyRootFilesystem", "user")
"""Of a job definition's container, what its jobs simply take over."""

_GPU_FAMILY = re.compile(r"(g|p)\d")


class BatchError(Exception):
    """A refusal in Batch's words."""

    def __init__(self, message: str, code: str = "ClientException", status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class Batch:
    """The Batch service: `call("SubmitJob", {...})` with the wire's camelCase members."""

    def __init__(self, settings: Settings, groups: GroupRegister, logs: LogShipper) -> None:
        self._settings = settings
        self._runner = JobRunner(settings, groups, logs)
        self._last_prepared = settings.state_dir / "ahead"
        self._image_before = self._last_prepared.read_text() if self._last_prepared.exists() else ""
        self._lock = threading.RLock()
        self._environments: dict[str, dict[str, Any]] = {}
        self._queues: dict[str, dict[str, Any]] = {}
        self._definitions: dict[str, list[dict[str, Any]]] = {}
        self._jobs: dict[str, Job] = {}
        self._operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "CreateComputeEnvironment": self._create_environment,
            "UpdateComputeEnvironment": self._update_environment,
            "DeleteComputeEnvironment": self._delete_environment,
            "DescribeComputeEnvironments": self._describe_environments,
            "CreateJobQueue": self._create_queue,
            "UpdateJobQueue": self._update_queue,
            "DeleteJobQueue": self._delete_queue,
            "DescribeJobQueues": self._describe_queues,
            "RegisterJobDefinition": self._register_definition,
            "DeregisterJobDefinition": self._deregister_definition,
            "DescribeJobDefinitions": self._describe_definitions,
            "SubmitJob": self._submit,
            "DescribeJobs": self._describe_jobs,
            "ListJobs": self._list_jobs,
            "TerminateJob": self._terminate,
            "CancelJob": self._cancel,
        }

    @property
    def operations(self) -> list[str]:
        """The names of the API operations that are emulated."""
        return list(self._operations)

    def call(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Perform an API operation. Raises BatchError as Batch would answer with an error."""
        if operation not in self._operations:
            raise BatchError(f"{operation} is not emulated", "InvalidAction")
        with self._lock:
            return copy.deepcopy(self._operations[operation](parameters))

    def wait(self, job_id: str) -> threading.Event:
        """The event that is set when the job has finished."""
        return self._jobs[job_id].finished

    # --- what outlives an instance ------------------------------------------------------------------------------------

    def kept(self) -> dict[str, Any]:
        """All that there is, for `restore`."""
        with self._lock:
            kept = {"environments": self._environments, "queues": self._queues, "definitions": self._definitions}
            jobs = [{"record": job.record, "queue": job.queue} for job in self._jobs.values()]
            return copy.deepcopy({**kept, "jobs": jobs})

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what an instance before had. Jobs that had not ended have failed, as with a host that is gone."""
        with self._lock:
            self._environments.update(state.get("environments", {}))
            self._queues.update(state.get("queues", {}))
            self._definitions.update(state.get("definitions", {}))
            for kept in state.get("jobs", []):
                job = ended_job(kept["record"], kept["queue"])
                self._jobs[job.job_id] = job
            for revisions in self._definitions.values():
                self._prepare(revisions[-1])

    def recall(self) -> None:
        """Have a process ready for the last image of the instance before: as often as not it is the next too."""
        if not self._definitions:
            self._prepare_image(self._image_before)

    # --- compute environments and queues ------------------------------------------------------------------------------

    def _create_environment(self, request: dict[str, Any]) -> dict[str, Any]:
        name = _valid_name(request, "computeEnvironmentName")
        if name in self._environments:
            raise BatchError(f"Object already exists: {name}", status=409)
        self._environments[name] = {
            "tags": {},
            **request,
            "computeEnvironmentName": name,
            "computeEnvironmentArn": arn("batch", f"compute-environment/{name}"),
            "ecsClusterArn": arn("ecs", f"cluster/{name}_Batch"),
            "type": str(request.get("type", "MANAGED")).upper(),
            "state": str(request.get("state", "ENABLED")).upper(),
            "status": "VALID",
            "statusReason": "ComputeEnvironment Healthy",
            "computeResources": request.get("computeResources", {}),
        }
        return _named(self._environments[name], "computeEnvironment")

    def _update_environment(self, request: dict[str, Any]) -> dict[str, Any]:
        environment = self._environment(request.get("computeEnvironment", ""))
        environment["computeResources"].update(request.get("computeResources") or {})
        if request.get("state"):
            environment["state"] = request["state"].upper()
        if request.get("serviceRole"):
            environment["serviceRole"] = request["serviceRole"]
        self._schedule()
        return _named(environment, "computeEnvironment")

    def _delete_environment(self, request: dict[str, Any]) -> dict[str, Any]:
        environment = self._find(self._environments, request.get("computeEnvironment", ""))
        if environment:
            used = [queue["jobQueueName"] for queue in self._queues.values() if environment in self._order(queue)]
            if used:
                raise BatchError(f"Cannot delete, found existing JobQueue relationship: {', '.join(used)}")
            del self._environments[environment["computeEnvironmentName"]]
        return {}

    def _describe_environments(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"computeEnvironments": self._select(self._environments, request.get("computeEnvironments"))}

    def _create_queue(self, request: dict[str, Any]) -> dict[str, Any]:
        name = _valid_name(request, "jobQueueName")
        if name in self._queues:
            raise BatchError(f"Object already exists: {name}", status=409)
        self._queues[name] = {
            "tags": {},
            **request,
            "jobQueueName": name,
            "jobQueueArn": arn("batch", f"job-queue/{name}"),
            "state": str(request.get("state", "ENABLED")).upper(),
            "status": "VALID",
            "statusReason": "JobQueue Healthy",
            "priority": int(request.get("priority", 1)),
            "computeEnvironmentOrder": self._checked_order(request.get("computeEnvironmentOrder")),
        }
        return _named(self._queues[name], "jobQueue")

    def _update_queue(self, request: dict[str, Any]) -> dict[str, Any]:
        queue = self._queue(request.get("jobQueue", ""))
        if request.get("computeEnvironmentOrder"):
            queue["computeEnvironmentOrder"] = self._checked_order(request["computeEnvironmentOrder"])
        if request.get("state"):
            queue["state"] = request["state"].upper()
        if request.get("priority") is not None:
            queue["priority"] = int(request["priority"])
        self._schedule()
        return _named(queue, "jobQueue")

    def _delete_queue(self, request: dict[str, Any]) -> dict[str, Any]:
        queue = self._find(self._queues, request.get("jobQueue", ""))
        if queue:
            name = queue["jobQueueName"]
            for job in [job for job in self._jobs.values() if job.queue == name]:
                self._end(job, "Job queue deleted")
            del self._queues[name]
        return {}

    def _describe_queues(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"jobQueues": self._select(self._queues, request.get("jobQueues"))}

    def _checked_order(self, order: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
        if not order:
            raise BatchError("computeEnvironmentOrder must name at least one compute environment")
        return [
            {
                "order": int(entry["order"]),
                "computeEnvironment": self._environment(entry["computeEnvironment"])["computeEnvironmentArn"],
            }
            for entry in sorted(order, key=lambda entry: int(entry["order"]))
        ]

    # --- job definitions ----------------------------------------------------------------------------------------------

    def _register_definition(self, request: dict[str, Any]) -> dict[str, Any]:
        name = _valid_name(request, "jobDefinitionName")
        if str(request.get("type", "container")).lower() != "container":
            raise BatchError(f"type must be container; given: {request['type']} (the others are not emulated)")
        if not request.get("containerProperties", {}).get("image"):
            raise BatchError("Container properties should not be empty")
        self._check_attempts(request)
        revisions = self._definitions.setdefault(name, [])
        revision = len(revisions) + 1
        definition = {
            "tags": {},
            "parameters": {},
            **request,
            "type": "container",
            "jobDefinitionArn": arn("batch", f"job-definition/{name}:{revision}"),
            "revision": revision,
            "status": "ACTIVE",
            "containerOrchestrationType": "ECS",
        }
        revisions.append(definition)
        self._prepare(definition)
        return {key: definition[key] for key in ("jobDefinitionName", "jobDefinitionArn", "revision")}

    def _prepare(self, definition: dict[str, Any]) -> None:
        self._prepare_image(definition["containerProperties"]["image"])

    def _prepare_image(self, uri: str) -> None:
        with contextlib.suppress(ImageNotFoundError, OSError, ValueError):  # jobs say it
            if self._runner.prepare(resolve(uri, self._settings.assemblies)):
                self._last_prepared.write_text(uri)

    def _deregister_definition(self, request: dict[str, Any]) -> dict[str, Any]:
        self._definition(request.get("jobDefinition", ""), active=False)["status"] = "INACTIVE"
        return {}

    def _describe_definitions(self, request: dict[str, Any]) -> dict[str, Any]:
        found = [definition for revisions in self._definitions.values() for definition in revisions]
        if request.get("jobDefinitions"):
            wanted = [self._definition(reference, active=False) for reference in request["jobDefinitions"]]
            found = [definition for definition in found if definition in wanted]
        if request.get("jobDefinitionName"):
            found = [
                definition for definition in found if definition["jobDefinitionName"] == request["jobDefinitionName"]
            ]
        if request.get("status"):
            found = [definition for definition in found if definition["status"] == request["status"]]
        return {"jobDefinitions": found}

    def _check_attempts(self, request: dict[str, Any]) -> None:
        refused = retry_problem(request.get("retryStrategy") or {})
        if refused:
            raise BatchError(refused)
        seconds = (request.get("timeout") or {}).get("attemptDurationSeconds")
        minimum = self._settings.minimum_timeout_seconds
        if seconds is not None and float(seconds) < minimum:
            raise BatchError(f"timeout.attemptDurationSeconds must be at least {minimum:g}; given: {seconds}")

    # --- jobs ---------------------------------------------------------------------------------------------------------

    def _submit(self, request: dict[str, Any]) -> dict[str, Any]:
        name = _valid_name(request, "jobName")
        queue = self._queue(request.get("jobQueue", ""))
        if queue["state"] != "ENABLED":
            raise BatchError(f"Job queue {queue['jobQueueArn']} is in DISABLED state and cannot accept jobs")
        definition = self._definition(request.get("jobDefinition", ""), active=True)
        for unsupported in ("arrayProperties", "nodeOverrides", "eksPropertiesOverride", "ecsPropertiesOverride"):
            if request.get(unsupported):
                raise BatchError(f"{unsupported} is not emulated")
        self._check_attempts(request)
        record = new_record(name, queue["jobQueueArn"], definition["jobDefinitionArn"])
        job = self._new_job(request, definition, queue, record)
        self._jobs[job.job_id] = job
        job.move("SUBMITTED")
        job.move("PENDING")
        self._schedule()
        return {"jobArn": record["jobArn"], "jobName": name, "jobId": job.job_id}

    def _new_job(
        self, request: dict[str, Any], definition: dict[str, Any], queue: dict[str, Any], record: dict[str, Any]
    ) -> Job:
        container = definition["containerProperties"]
        overrides = request.get("containerOverrides") or {}
        parameters = {**definition["parameters"], **(request.get("parameters") or {})}
        requirements = _merged(container, overrides, "resourceRequirements", "type")
        retry_strategy = request.get("retryStrategy") or definition.get("retryStrategy") or {"attempts": 1}
        timeout = request.get("timeout") or definition.get("timeout") or {}
        log = container.get("logConfiguration") or {"logDriver": "awslogs", "options": {}}
        options = log.get("options") or {}
        needs = {requirement["type"]: float(requirement["value"]) for requirement in requirements}
        vcpus = needs.get("VCPU", float(overrides.get("vcpus") or container.get("vcpus") or 1))
        record.update(
            parameters=parameters,
            retryStrategy=retry_strategy,
            dependsOn=request.get("dependsOn", []),
            platformCapabilities=definition.get("platformCapabilities", ["EC2"]),
            tags={**(definition["tags"] if definition.get("propagateTags") else {}), **(request.get("tags") or {})},
            container={
                "image": container["image"],
                "command": _substituted(overrides.get("command") or container.get("command") or [], parameters),
                "environment": _merged(container, overrides, "environment", "name"),
                "resourceRequirements": requirements,
                **{name: container[name] for name in _AS_DECLARED if name in container},
                "jobRoleArn": container.get("jobRoleArn", ""),
                "executionRoleArn": container.get("executionRoleArn", ""),
                "logConfiguration": log,
                "volumes": container.get("volumes", []),
                "mountPoints": container.get("mountPoints", []),
                "ulimits": container.get("ulimits", []),
            },
        )
        if timeout:
            record["timeout"] = timeout
        try:
            # Resolved now, so that a later deployment does not change what this job runs.
            local_image = resolve(container["image"], self._settings.assemblies)
        except (ImageNotFoundError, OSError, ValueError):
            local_image = None
        group = options.get("awslogs-group", DEFAULT_LOG_GROUP)
        return Job(
            record=record,
            queue=queue["jobQueueName"],
            image=container["image"],
            local_image=local_image,
            retry_strategy=retry_strategy,
            timeout_seconds=float(timeout["attemptDurationSeconds"]) if timeout else None,
            log_group=group,
            log_stream_prefix=options.get("awslogs-stream-prefix", definition["jobDefinitionName"]),
            may_create_log_group=group == DEFAULT_LOG_GROUP or options.get("awslogs-create-group") == "true",
            depends_on=[dependency["jobId"] for dependency in request.get("dependsOn", [])],
            vcpus=vcpus,
            gpus=int(needs.get("GPU", 0)),
        )

    def _describe_jobs(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"jobs": [self._jobs[job_id].record for job_id in request.get("jobs", []) if job_id in self._jobs]}

    def _list_jobs(self, request: dict[str, Any]) -> dict[str, Any]:
        if not request.get("jobQueue"):
            raise BatchError("jobQueue must be specified (arrays and multi-node jobs are not emulated)")
        queue = self._queue(request["jobQueue"])["jobQueueName"]
        jobs = sorted((j for j in self._jobs.values() if j.queue == queue), key=lambda j: -int(j.record["createdAt"]))
        filters = request.get("filters") or []
        if filters:
            jobs = [job for job in jobs if all(_passes(job, entry) for entry in filters)]
        else:
            jobs = [job for job in jobs if job.status == request.get("jobStatus", "RUNNING")]
        start = int(request.get("nextToken") or 0)
        end = start + int(request.get("maxResults") or 100)
        answer: dict[str, Any] = {"jobSummaryList": [_summary(job) for job in jobs[start:end]]}
        if end < len(jobs):
            answer["nextToken"] = str(end)
        return answer

    def _terminate(self, request: dict[str, Any]) -> dict[str, Any]:
        job = self._jobs.get(_required(request, "jobId"))
        reason = _required(request, "reason")
        if job:
            self._end(job, reason)
        return {}

    def _cancel(self, request: dict[str, Any]) -> dict[str, Any]:
        job = self._jobs.get(_required(request, "jobId"))
        reason = _required(request, "reason")
        if job and job.status in WAITING:
            job.record["isCancelled"] = True
            self._end(job, reason)
        return {}

    def _end(self, job: Job, reason: str) -> None:
        if job.status in FINISHED or job.ended_by is not None:
            return
        job.ended_by = reason
        job.record["isTerminated"] = not job.record.get("isCancelled", False)
        if job.process:
            job.process.stop(self._settings.kill_grace_seconds)
        elif job.place is None:
            job.move("FAILED", reason)
            self._schedule()

    # --- scheduling ---------------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        """Place whatever fits: queues by priority, jobs first in, first out, environments in the queue's order."""
        for job in self._jobs.values():
            if job.status == "PENDING":
                self._settle_dependencies(job)
        for queue in sorted(self._queues.values(), key=lambda queue: -int(queue["priority"])):
            for job in [j for j in self._jobs.values() if j.status == "RUNNABLE" and j.queue == queue["jobQueueName"]]:
                if job.place is None and not self._place(job, queue):
                    break  # The job at the head of a first-in, first-out queue holds back those behind it.

    def _settle_dependencies(self, job: Job) -> None:
        states = [self._jobs[d].status if d in self._jobs else "FAILED" for d in job.depends_on]
        if "FAILED" in states:
            job.move("FAILED", "Dependent Job failed")
        elif all(state == "SUCCEEDED" for state in states):
            job.move("RUNNABLE")

    def _place(self, job: Job, queue: dict[str, Any]) -> bool:
        environments = self._order(queue)
        for environment in environments:
            name = environment["computeEnvironmentName"]
            used = sum(j.place.vcpus for j in self._jobs.values() if j.place and j.place.environment == name)
            if _could_hold(environment, job) and used + job.vcpus <= _max_vcpus(environment):
                job.place = Place(name, job.vcpus)
                job.record.pop("statusReason", None)
                job.move("STARTING")
                self._runner.start(job, self._lock, self._release)
                return True
        if not any(_could_hold(environment, job) for environment in environments):
            self._report_stuck(job, queue, environments)
        return False

    def _report_stuck(self, job: Job, queue: dict[str, Any], environments: list[dict[str, Any]]) -> None:
        """Say why the job can never be placed, and cancel it in time if the queue says so."""
        large = all(job.vcpus > _max_vcpus(environment) for environment in environments)
        code = f"MISCONFIGURATION:{'COMPUTE_ENVIRONMENT_MAX_RESOURCE' if large else 'JOB_RESOURCE_REQUIREMENT'}"
        if not job.record.get("statusReason", "").startswith(code):
            job.record["statusReason"] = f"{code} - {_NEVER_FITS[code]}"
            hooks.put_event(
                "aws.batch", "Batch Job Queue Blocked", dict(job.record), [job.record["jobArn"], job.record["jobQueue"]]
            )
        for action in queue.get("jobStateTimeLimitActions", []):
            if action["reason"] == code and not job.has_time_limit:
                job.has_time_limit = True
                timer = threading.Timer(float(action["maxTimeSeconds"]), self._unstick, args=(job, code))
                timer.daemon = True
                timer.start()

    def _unstick(self, job: Job, code: str) -> None:
        with self._lock:
            if job.status == "RUNNABLE" and job.record.get("statusReason", "").startswith(code):
                job.record["isCancelled"] = True
                self._end(job, f"Job state time limit exceeded: {code}")

    def _release(self, job: Job) -> None:
        job.place = None
        self._schedule()

    def _order(self, queue: dict[str, Any]) -> list[dict[str, Any]]:
        return [self._environment(entry["computeEnvironment"]) for entry in queue["computeEnvironmentOrder"]]

    # --- look-ups -----------------------------------------------------------------------------------------------------

    def _environment(self, reference: str) -> dict[str, Any]:
        environment = self._find(self._environments, reference)
        if environment is None:
            raise BatchError(f"Compute environment {reference} does not exist")
        return environment

    def _queue(self, reference: str) -> dict[str, Any]:
        queue = self._find(self._queues, reference)
        if queue is None:
            raise BatchError(f"Job queue {reference} does not exist")
        return queue

    def _definition(self, reference: str, *, active: bool) -> dict[str, Any]:
        name, _, revision = reference.rpartition("/")[2].partition(":")
        candidates = [
            definition
            for definition in self._definitions.get(name, [])
            if revision in ("", str(definition["revision"])) and not (active and definition["status"] != "ACTIVE")
        ]
        if candidates:
            return candidates[-1]
        raise BatchError(f"Job definition {reference} is not found or is not in ACTIVE status")

    @staticmethod
    def _find(store: dict[str, dict[str, Any]], reference: str) -> dict[str, Any] | None:
        return store.get(reference.rpartition("/")[2])

    def _select(self, store: dict[str, dict[str, Any]], references: list[str] | None) -> list[dict[str, Any]]:
        if not references:
            return list(store.values())
        return [item for item in (self._find(store, reference) for reference in references) if item]


def _required(request: dict[str, Any], field: str) -> str:
    if not request.get(field):
        raise BatchError(f"{field} must be specified")
    return str(request[field])


def _valid_name(request: dict[str, Any], field: str) -> str:
    name = _required(request, field)
    if not _NAME.fullmatch(name):
        raise BatchError(f"{field} should match valid pattern [A-Za-z0-9][A-Za-z0-9_-]{{0,127}}; given: {name!r}")
    return name


def _named(item: dict[str, Any], kind: str) -> dict[str, Any]:
    return {f"{kind}Name": item[f"{kind}Name"], f"{kind}Arn": item[f"{kind}Arn"]}


def _merged(container: dict[str, Any], overrides: dict[str, Any], field: str, key: str) -> list[dict[str, Any]]:
    """A list of the job definition with the entries that were overridden at submission."""
    entries = {entry[key]: entry for entry in [*(container.get(field) or []), *(overrides.get(field) or [])]}
    return list(entries.values())


def _substituted(command: list[str], parameters: dict[str, str]) -> list[str]:
    return [parameters.get(word[5:], word) if word.startswith("Ref::") else word for word in command]


def _could_hold(environment: dict[str, Any], job: Job) -> bool:
    """Whether the environment could ever run the job, were it empty."""
    if environment["state"] != "ENABLED" or job.vcpus > _max_vcpus(environment):
        return False
    types = environment["computeResources"].get("instanceTypes") or []
    return not job.gpus or any(_GPU_FAMILY.match(kind) for kind in types)


def _max_vcpus(environment: dict[str, Any]) -> float:
    return float(environment["computeResources"].get("maxvCpus", 256))


def _passes(job: Job, entry: dict[str, Any]) -> bool:
    name = entry["name"]
    if name == "JOB_NAME":
        return any(_same(pattern, job.record["jobName"]) for pattern in entry["values"])
    if name == "JOB_DEFINITION":
        definition = job.record["jobDefinition"]
        revision = definition.rpartition("/")[2]
        names = (definition, revision, revision.partition(":")[0])
        return any(_same(pattern, known) for pattern in entry["values"] for known in names)
    if name == "BEFORE_CREATED_AT":
        return int(job.record["createdAt"]) < int(entry["values"][0])
    if name == "AFTER_CREATED_AT":
        return int(job.record["createdAt"]) > int(entry["values"][0])
    raise BatchError(
        f"filters.name must be JOB_NAME, JOB_DEFINITION, BEFORE_CREATED_AT or AFTER_CREATED_AT; given: {name}"
    )


def _same(pattern: str, name: str) -> bool:
    """Batch's filters ignore case and take an asterisk at the end."""
    if pattern.endswith("*"):
        return name.lower().startswith(pattern[:-1].lower())
    return name.lower() == pattern.lower()


def _summary(job: Job) -> dict[str, Any]:
    fields = (
        "jobArn",
        "jobId",
        "jobName",
        "jobDefinition",
        "createdAt",
        "startedAt",
        "stoppedAt",
        "status",
        "statusReason",
    )
    summary: dict[str, Any] = {key: job.record[key] for key in fields if key in job.record}
    container = {key: job.record["container"][key] for key in ("exitCode", "reason") if key in job.record["container"]}
    summary["container"] = container
    return summary

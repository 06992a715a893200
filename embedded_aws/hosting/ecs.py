"""Services on ECS whose tasks are local processes, and their blue/green deployments.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Operations.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/blue-green-deployment-how-it-works.html

Clusters, and all that is not here, are ministack's.
"""

import copy
import json
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from embedded_aws import hooks
from embedded_aws.access import permissions
from embedded_aws.hosting import balancing, fleets
from embedded_aws.hosting.fleets import RollbackError
from embedded_aws.hosting.serving import Server, ServingError
from embedded_aws.keeping import Kept
from embedded_aws.processes.process import GroupRegister, LogShipper
from embedded_aws.settings import Settings, arn

_Response = tuple[int, dict[str, str], bytes]
_RANG = "Service deployment rolled back because alarms are in ALARM: {}."
_DRAINING_SECONDS = 1.0
"""A task gets no new requests for so long before it is stopped: the deregistration delay, on AWS minutes."""


class EcsError(Exception):
    """A refusal in the words of ECS."""

    def __init__(self, message: str, code: str = "ClientException") -> None:
        super().__init__(message)
        self.code = code


class Task(Server):
    """The container of a task: it has the keys of its task role, and nobody puts a model into it."""

    def __init__(self, settings: Settings, groups: GroupRegister, logs: LogShipper, definition: dict[str, Any]) -> None:
        [container] = definition["containerDefinitions"]
        environment = {item["name"]: item["value"] for item in container.get("environment", [])}
        options = container["logConfiguration"]["options"]
        super().__init__(
            settings,
            groups,
            logs,
            model={
                "PrimaryContainer": {"Image": container["image"], "Environment": environment},
                "ExecutionRoleArn": definition["taskRoleArn"],
            },
            variant={"VariantName": container["name"]},
            log_group=options["awslogs-group"],
        )
        self._execution_role = definition["executionRoleArn"]
        self.log_stream = f"{options['awslogs-stream-prefix']}/{container['name']}/{uuid.uuid4().hex}"

    def _prepare(self, create_log_stream: Callable[[str, str], None]) -> None:
        permissions.check_pull(self._execution_role, self._container["Image"])
        permissions.check_log(self._execution_role, self._log_group, self.log_stream)
        create_log_stream(self._log_group, self.log_stream)
        self._folder.mkdir(parents=True)


class Ecs(Kept):
    """The part of ECS that services are made by: `call("CreateService", {...})`.

    Services that were restored answer again after `revive`.
    """

    KEPT = ("task_definitions", "services", "deployments", "revisions")

    def __init__(self, settings: Settings, groups: GroupRegister, logs: LogShipper) -> None:
        self._settings, self._groups, self._logs = settings, groups, logs
        self._lock = threading.RLock()
        self._task_definitions: dict[str, dict[str, Any]] = {}
        self._services: dict[str, dict[str, Any]] = {}
        self._deployments: dict[str, dict[str, Any]] = {}
        self._revisions: dict[str, dict[str, Any]] = {}
        self._tasks: dict[str, list[Task]] = {}
        """Of a service, those that serve."""
        self.operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "RegisterTaskDefinition": self._register,
            "DeregisterTaskDefinition": self._deregister,
            "ListTaskDefinitions": self._list_definitions,
            "CreateService": self._create,
            "UpdateService": self._update,
            "DeleteService": self._delete,
            "DescribeServices": self._describe,
            "ListServices": self._list,
            "ListServiceDeployments": self._list_deployments,
            "DescribeServiceDeployments": self._describe_deployments,
            "DescribeServiceRevisions": self._describe_revisions,
        }

    def call(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """Perform an API operation. Raises EcsError as ECS would answer with an error."""
        with self._lock:
            return copy.deepcopy(self.operations[operation](request))

    def service(self, cluster: str, name: str) -> dict[str, Any] | None:
        """A service that is there; None when there is none."""
        return self._services.get(f"{cluster}/{name}")

    def revive(self) -> None:
        """Start the tasks of the services that were restored."""
        with self._lock:
            for service in self._services.values():
                key = _key(service)
                weights = balancing.weights(service["rule"])
                if key not in self._tasks and weights:
                    tasks = self._start(service["taskDefinition"], service["desiredCount"])
                    balancing.register(max(weights, key=lambda group: weights[group]), [task.port for task in tasks])
                    self._tasks[key] = tasks

    # --- task definitions ---------------------------------------------------------------------------------------------

    def _register(self, request: dict[str, Any]) -> dict[str, Any]:
        family = request["family"]
        number = 1 + max(
            (it["revision"] for it in self._task_definitions.values() if it["family"] == family), default=0
        )
        name = arn("ecs", f"task-definition/{family}:{number}")
        self._task_definitions[name] = {**request, "revision": number, "taskDefinitionArn": name, "status": "ACTIVE"}
        return {"taskDefinition": self._task_definitions[name]}

    def _deregister(self, request: dict[str, Any]) -> dict[str, Any]:
        definition = self._definition(request["taskDefinition"])
        definition["status"] = "INACTIVE"
        return {"taskDefinition": definition}

    def _list_definitions(self, request: dict[str, Any]) -> dict[str, Any]:
        prefix, status = request.get("familyPrefix", ""), request.get("status", "ACTIVE")
        return {
            "taskDefinitionArns": [
                name
                for name, it in self._task_definitions.items()
                if it["family"].startswith(prefix) and it["status"] == status
            ]
        }

    def _definition(self, reference: str) -> dict[str, Any]:
        """By ARN, or the newest active one of a family."""
        found = self._task_definitions.get(reference)
        for it in self._task_definitions.values():
            if it["family"] == reference and it["status"] == "ACTIVE":
                found = it
        if found is None:
            raise EcsError("TaskDefinition not found.")
        return found

    # --- services -----------------------------------------------------------------------------------------------------

    def _create(self, request: dict[str, Any]) -> dict[str, Any]:
        cluster, name = _cluster_of(request), request["serviceName"]
        if self.service(cluster, name):
            raise EcsError("Creation of service was not idempotent.", "InvalidParameterException")
        definition = self._definition(request["taskDefinition"])
        [balancer] = request["loadBalancers"]
        advanced = balancer["advancedConfiguration"]
        if not balancing.has_rule(advanced["productionListenerRule"]):
            raise EcsError("The listener rule does not exist.", "InvalidParameterException")
        service = {
            **{key: value for key, value in request.items() if key not in ("cluster", "tags")},
            "serviceArn": arn("ecs", f"service/{cluster}/{name}"),
            "clusterArn": arn("ecs", f"cluster/{cluster}"),
            "taskDefinition": definition["taskDefinitionArn"],
            "status": "ACTIVE",
            "runningCount": 0,
            "createdAt": time.time(),
            "rule": advanced["productionListenerRule"],
        }
        self._services[_key(service)] = service
        self._deploy(service, None)
        return {"service": _shown(service)}

    def _update(self, request: dict[str, Any]) -> dict[str, Any]:
        service = self._need(request)
        last = self._last(service)
        if last["status"] == "IN_PROGRESS":
            raise EcsError("The service has a deployment in progress.", "InvalidParameterException")
        before = service["revision"]
        service["taskDefinition"] = self._definition(request["taskDefinition"])["taskDefinitionArn"]
        service["deploymentConfiguration"] = request.get("deploymentConfiguration", service["deploymentConfiguration"])
        self._deploy(service, before)
        return {"service": _shown(service)}

    def _delete(self, request: dict[str, Any]) -> dict[str, Any]:
        service = self._need(request)
        del self._services[_key(service)]
        for group in balancing.weights(service["rule"]):
            balancing.register(group, [])
        threading.Thread(target=_retire, args=(self._tasks.pop(_key(service), []),), daemon=True).start()
        return {"service": {**_shown(service), "status": "DRAINING"}}

    def _describe(self, request: dict[str, Any]) -> dict[str, Any]:
        cluster, found, failures = _cluster_of(request), [], []
        for reference in request["services"]:
            service = self.service(cluster, reference.rpartition("/")[2])
            if service:
                found.append(_shown(service))
            else:
                name = arn("ecs", f"service/{cluster}/{reference.rpartition('/')[2]}")
                failures.append({"arn": name, "reason": "MISSING"})
        return {"services": found, "failures": failures}

    def _list(self, request: dict[str, Any]) -> dict[str, Any]:
        cluster = arn("ecs", f"cluster/{_cluster_of(request)}")
        return {"serviceArns": [it["serviceArn"] for it in self._services.values() if it["clusterArn"] == cluster]}

    def _need(self, request: dict[str, Any]) -> dict[str, Any]:
        service = self.service(_cluster_of(request), request["service"].rpartition("/")[2])
        if service is None:
            raise EcsError("Service not found.", "ServiceNotFoundException")
        return service

    # --- deployments --------------------------------------------------------------------------------------------------

    def _list_deployments(self, request: dict[str, Any]) -> dict[str, Any]:
        service = self._need(request)
        found = [it for it in self._deployments.values() if it["serviceArn"] == service["serviceArn"]]
        brief = ("serviceDeploymentArn", "serviceArn", "clusterArn", "createdAt", "status", "statusReason")
        return {
            "serviceDeployments": [
                {
                    **{key: it[key] for key in brief if key in it},
                    "targetServiceRevisionArn": it["targetServiceRevision"]["arn"],
                }
                for it in reversed(found)
            ]
        }

    def _describe_deployments(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"serviceDeployments": [self._deployments[name] for name in request["serviceDeploymentArns"]]}

    def _describe_revisions(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"serviceRevisions": [self._revisions[name] for name in request["serviceRevisionArns"]]}

    def _last(self, service: dict[str, Any]) -> dict[str, Any]:
        return [it for it in self._deployments.values() if it["serviceArn"] == service["serviceArn"]][-1]

    def _deploy(self, service: dict[str, Any], before: str | None) -> None:
        """Start new tasks beside those that serve; the requests move once they are healthy."""
        place = f"{_key(service)}/{uuid.uuid4().hex[:16]}"
        revision = {
            "serviceRevisionArn": arn("ecs", f"service-revision/{place}"),
            "serviceArn": service["serviceArn"],
            "clusterArn": service["clusterArn"],
            "taskDefinition": service["taskDefinition"],
            "createdAt": time.time(),
        }
        self._revisions[revision["serviceRevisionArn"]] = revision
        deployment = {
            "serviceDeploymentArn": arn("ecs", f"service-deployment/{place}"),
            "serviceArn": service["serviceArn"],
            "clusterArn": service["clusterArn"],
            "createdAt": time.time(),
            "status": "IN_PROGRESS",
            "targetServiceRevision": {"arn": revision["serviceRevisionArn"]},
            "sourceServiceRevisions": [{"arn": before}] if before else [],
        }
        self._deployments[deployment["serviceDeploymentArn"]] = deployment
        threading.Thread(target=self._roll_out, args=(service, deployment, before), daemon=True).start()

    def _roll_out(self, service: dict[str, Any], deployment: dict[str, Any], before: str | None) -> None:
        key, rule = _key(service), service["rule"]
        weights = balancing.weights(rule)
        blue = max(weights, key=lambda group: weights[group])
        green = blue if before is None else next(group for group in weights if group != blue)
        tasks: list[Task] = []
        failure = None
        try:
            tasks = self._start(service["taskDefinition"], service["desiredCount"])
            balancing.register(green, [task.port for task in tasks])
            if before is not None:
                self._shift(service, blue, green)
        except (ServingError, RollbackError) as error:
            failure = str(error)
        with self._lock:
            if self._services.get(key) is not service:
                _retire(tasks)
                return
            deployment["finishedAt"] = time.time()
            if failure is None:
                former, self._tasks[key] = self._tasks.get(key, []), tasks
                service["revision"] = deployment["targetServiceRevision"]["arn"]
                service["runningCount"] = len(tasks)
                deployment["status"], gone = "SUCCESSFUL", blue
            else:
                former, gone = tasks, green
                deployment["status"] = "ROLLBACK_SUCCESSFUL" if before else "STOPPED"
                deployment["statusReason"] = failure
                if before:
                    deployment["rollback"] = {"reason": failure, "serviceRevisionArn": before}
                    service["taskDefinition"] = self._revisions[before]["taskDefinition"]
            if before is not None:
                balancing.register(gone, [])
        name = "SERVICE_DEPLOYMENT_FAILED" if failure and not before else "SERVICE_DEPLOYMENT_COMPLETED"
        detail = {
            "eventType": "ERROR" if failure and not before else "INFO",
            "eventName": name,
            "deploymentId": deployment["serviceDeploymentArn"].rpartition("/")[2],
            "reason": failure or "ECS deployment completed.",
        }
        hooks.put_event("aws.ecs", "ECS Deployment State Change", detail, [service["serviceArn"]])
        _retire(former)

    def _start(self, definition: str, count: int) -> list[Task]:
        """So many healthy tasks. Raises ServingError when one does not come up; none runs then."""
        tasks: list[Task] = []
        try:
            for _ in range(count):
                tasks.append(Task(self._settings, self._groups, self._logs, self._definition(definition)))
                tasks[-1].start(hooks.create_log_stream)
        except ServingError as error:
            for task in tasks:
                task.stop()
            raise ServingError(f"ECS deployment circuit breaker: tasks failed to start: {error}") from error
        return tasks

    def _shift(self, service: dict[str, Any], blue: str, green: str) -> None:
        """Move the requests by the service's strategy while alarms are watched. Raises RollbackError when one rings."""
        how = service["deploymentConfiguration"]
        alarms = how.get("alarms") or {}
        watched = alarms["alarmNames"] if alarms.get("enable") else []
        steps = [(100.0, how.get("bakeTimeInMinutes", 0))]
        if how.get("strategy") == "CANARY":
            canary = how["canaryConfiguration"]
            steps.insert(0, (canary["canaryPercent"], canary["canaryBakeTimeInMinutes"]))

        def wait(seconds: float) -> None:
            time.sleep(seconds)
            if self._services.get(_key(service)) is not service:
                raise RollbackError("The service was deleted.")

        try:
            for percent, minutes in steps:
                balancing.shift(service["rule"], {blue: 100 - percent, green: percent})
                fleets.bake(watched, minutes * 60 * self._settings.bake_scale, wait, said=_RANG)
        except RollbackError:
            balancing.shift(service["rule"], {blue: 100.0, green: 0.0})
            raise


def _retire(tasks: list[Task]) -> None:
    """Stop tasks that get no new requests any more."""
    if tasks:
        time.sleep(_DRAINING_SECONDS)
    for task in tasks:
        task.stop()


def _key(service: dict[str, Any]) -> str:
    return str(service["serviceArn"]).partition(":service/")[2]


def _cluster_of(request: dict[str, Any]) -> str:
    return str(request.get("cluster", "default")).rpartition("/")[2]


def _shown(service: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in service.items() if key not in ("rule", "revision")}


def register(ecs: Ecs) -> None:
    """Make the service answer at the instance's endpoint."""
    others = hooks.private("app", "SERVICE_HANDLERS")["ecs"]

    async def handle(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> _Response:
        operation = headers.get("x-amz-target", "").rpartition(".")[2]
        if operation not in ecs.operations:
            answer: _Response = await others(method, path, headers, body, query)
            return answer
        content_type = {"Content-Type": "application/x-amz-json-1.1"}
        try:
            document = ecs.call(operation, json.loads(body or b"{}"))
        except EcsError as error:
            refusal = {"__type": error.code, "message": str(error)}
            return 400, {**content_type, "x-amzn-ErrorType": error.code}, json.dumps(refusal).encode()
        return 200, content_type, json.dumps(document).encode()

    hooks.private("app", "SERVICE_HANDLERS")["ecs"] = handle

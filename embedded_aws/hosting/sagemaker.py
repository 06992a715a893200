"""SageMaker hosting and model registry whose endpoints are local servers.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_Operations_Amazon_SageMaker_Service.html
"""

import asyncio
import copy
import json
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote, urlparse

from botocore.exceptions import ClientError

from embedded_aws import hooks
from embedded_aws.clients import s3
from embedded_aws.hosting import fleets
from embedded_aws.hosting.fleets import Fleet, RollbackError, Traffic
from embedded_aws.hosting.invocations import Invocation, Notes
from embedded_aws.hosting.serving import Answer, Server, ServingError
from embedded_aws.keeping import Kept
from embedded_aws.processes.process import GroupRegister, LogShipper
from embedded_aws.settings import ACCOUNT, REGION, Settings, arn

_NAME = r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
_INVOCATION = re.compile(r"^/endpoints/([^/]+)/invocations$")


class SageMakerError(Exception):
    """A refusal in SageMaker's words."""

    def __init__(self, message: str, code: str = "ValidationException") -> None:
        super().__init__(message)
        self.code = code


class SageMaker(Kept):
    """The SageMaker control plane: `call("CreateModel", {...})`, and `invoke` for the runtime."""

    KEPT = ("models", "configs", "endpoints", "groups_of_packages", "packages", "package_tokens")

    def __init__(self, settings: Settings, groups: GroupRegister, logs: LogShipper) -> None:
        self._settings = settings
        self._groups = groups
        self._logs = logs
        self._lock = threading.RLock()
        self._models: dict[str, dict[str, Any]] = {}
        self._configs: dict[str, dict[str, Any]] = {}
        self._endpoints: dict[str, dict[str, Any]] = {}
        self._traffic: dict[str, Traffic] = {}
        self._notes = Notes(settings.endpoint_url)
        self._shadowing = ThreadPoolExecutor(max_workers=16, thread_name_prefix="shadow")
        self._groups_of_packages: dict[str, dict[str, Any]] = {}
        self._packages: dict[str, dict[str, Any]] = {}
        self._package_tokens: dict[str, str] = {}
        self._operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "CreateModel": self._create_model,
            "DescribeModel": lambda p: self._need(self._models, "model", "ModelName", p),
            "DeleteModel": lambda p: self._delete(self._models, "model", "ModelName", p),
            "ListModels": lambda p: _page(self._models, "Model", ("ModelName", "ModelArn", "CreationTime"), p),
            "CreateEndpointConfig": self._create_config,
            "DescribeEndpointConfig": lambda p: self._need(self._configs, "endpoint-config", "EndpointConfigName", p),
            "DeleteEndpointConfig": lambda p: self._delete(self._configs, "endpoint-config", "EndpointConfigName", p),
            "ListEndpointConfigs": lambda p: _page(
                self._configs, "EndpointConfig", ("EndpointConfigName", "EndpointConfigArn", "CreationTime"), p
            ),
            "CreateEndpoint": self._create_endpoint,
            "UpdateEndpoint": self._update_endpoint,
            "DescribeEndpoint": lambda p: self._need(self._endpoints, "endpoint", "EndpointName", p),
            "DeleteEndpoint": self._delete_endpoint,
            "ListEndpoints": self._list_endpoints,
            "CreateModelPackageGroup": self._create_group,
            "DescribeModelPackageGroup": self._describe_group,
            "DeleteModelPackageGroup": self._delete_group,
            "ListModelPackageGroups": self._list_groups,
            "CreateModelPackage": self._create_package,
            "DescribeModelPackage": lambda p: self._package(p["ModelPackageName"]),
            "UpdateModelPackage": self._update_package,
            "DeleteModelPackage": self._delete_package,
            "ListModelPackages": self._list_packages,
        }

    def start(self) -> None:
        """Begin to publish metrics."""
        self._notes.start()

    def endpoint(self, name: str) -> dict[str, Any] | None:
        """An endpoint as DescribeEndpoint shows it; None when there is none."""
        return self._endpoints.get(name)

    def call(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Perform an API operation. Raises SageMakerError as SageMaker would answer with an error."""
        if operation not in self._operations:
            raise SageMakerError(f"{operation} is not emulated", "UnknownOperationException")
        try:
            with self._lock:
                return copy.deepcopy(self._operations[operation](parameters))
        except KeyError as error:
            field = error.args[0]
            raise SageMakerError(
                f"1 validation error detected: Value null at '{field[:1].lower() + field[1:]}' failed to satisfy "
                "constraint: Member must not be null"
            ) from error

    # --- what outlives an instance ------------------------------------------------------------------------------------

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what an instance before had; its endpoints serve again after `revive`."""
        with self._lock:
            super().restore(state)
            for name in self._endpoints:
                self._traffic[name] = Traffic()

    def revive(self) -> None:
        """Start the servers of the endpoints that were restored."""
        with self._lock:
            for endpoint in self._endpoints.values():
                if self._traffic[endpoint["EndpointName"]].serving is None and endpoint["EndpointStatus"] != "Failed":
                    self._deploy(
                        endpoint, self._need(self._configs, "endpoint-config", "EndpointConfigName", endpoint), {}
                    )

    # --- models and endpoint configurations ---------------------------------------------------------------------------

    def _create_model(self, request: dict[str, Any]) -> dict[str, Any]:
        name = self._new(self._models, "model", "ModelName", request)
        for container in _containers(request):
            self._check_model_data(container.get("ModelDataUrl"), request.get("ExecutionRoleArn", ""))
        model_arn = arn("sagemaker", f"model/{name}")
        self._models[name] = {**request, "ModelArn": model_arn, "CreationTime": time.time()}
        return {"ModelArn": model_arn}

    def _check_model_data(self, url: str | None, role: str) -> None:
        if not url:
            return
        place = urlparse(url)
        try:
            s3(self._settings.endpoint_url, role).head_object(Bucket=place.netloc, Key=place.path.lstrip("/"))
        except ClientError:
            raise SageMakerError(
                f'Could not access model data at {url}. Please ensure that the role "{role}" exists and that its trust '
                'relationship policy allows the action "sts:AssumeRole" for the service principal '
                '"sagemaker.amazonaws.com". Also ensure that the role has "s3:GetObject" permissions and that the '
                f"object is located in {REGION}."
            ) from None

    def _create_config(self, request: dict[str, Any]) -> dict[str, Any]:
        name = self._new(self._configs, "endpoint-config", "EndpointConfigName", request)
        for variant in [*request["ProductionVariants"], *request.get("ShadowProductionVariants", [])]:
            self._need(self._models, "model", "ModelName", variant)
            if ("ServerlessConfig" in variant) == ("InstanceType" in variant):
                raise SageMakerError("A variant has either an InstanceType or a ServerlessConfig")
        config_arn = arn("sagemaker", f"endpoint-config/{name}")
        self._configs[name] = {**request, "EndpointConfigArn": config_arn, "CreationTime": time.time()}
        return {"EndpointConfigArn": config_arn}

    # --- endpoints ----------------------------------------------------------------------------------------------------

    def _create_endpoint(self, request: dict[str, Any]) -> dict[str, Any]:
        name = self._new(self._endpoints, "endpoint", "EndpointName", request)
        config = self._need(self._configs, "endpoint-config", "EndpointConfigName", request)
        endpoint = {
            "EndpointName": name,
            "EndpointArn": arn("sagemaker", f"endpoint/{name}"),
            "EndpointConfigName": config["EndpointConfigName"],
            "EndpointStatus": "Creating",
            "CreationTime": time.time(),
            "LastModifiedTime": time.time(),
        }
        self._endpoints[name] = endpoint
        self._traffic[name] = Traffic()
        self._deploy(endpoint, config, {})
        return {"EndpointArn": endpoint["EndpointArn"]}

    def _update_endpoint(self, request: dict[str, Any]) -> dict[str, Any]:
        endpoint = self._need(self._endpoints, "endpoint", "EndpointName", request)
        config = self._need(self._configs, "endpoint-config", "EndpointConfigName", request)
        if endpoint["EndpointStatus"] not in ("InService",):
            raise SageMakerError(f'Cannot update in-progress endpoint "{endpoint["EndpointArn"]}".')
        deployment = request.get("DeploymentConfig") or {}
        if problem := fleets.check_deployment(deployment, config):
            raise SageMakerError(problem)
        self._deploy(endpoint, config, deployment)
        return {"EndpointArn": endpoint["EndpointArn"]}

    def _deploy(self, endpoint: dict[str, Any], config: dict[str, Any], deployment: dict[str, Any]) -> None:
        """Start a new fleet beside the one that serves; traffic moves once it is healthy."""
        if endpoint["EndpointStatus"] != "Creating":
            endpoint["EndpointStatus"] = "Updating"
        endpoint.pop("FailureReason", None)
        endpoint["LastModifiedTime"] = time.time()
        endpoint["PendingDeploymentSummary"] = {
            "EndpointConfigName": config["EndpointConfigName"],
            "ProductionVariants": [{"VariantName": item["VariantName"]} for item in config["ProductionVariants"]],
            "StartTime": time.time(),
        }
        if deployment:
            endpoint["LastDeploymentConfig"] = deployment
        self._publish(endpoint)
        green = Fleet(
            config,
            servers=self._servers_of(endpoint, config["ProductionVariants"]),
            shadows=self._servers_of(endpoint, config.get("ShadowProductionVariants", [])),
        )
        threading.Thread(target=self._roll_out, args=(endpoint, green, deployment), daemon=True).start()

    def _servers_of(self, endpoint: dict[str, Any], variants: list[dict[str, Any]]) -> dict[str, Server]:
        return {
            variant["VariantName"]: Server(
                self._settings,
                self._groups,
                self._logs,
                model=self._need(self._models, "model", "ModelName", variant),
                variant=variant,
                log_group=f"/aws/sagemaker/Endpoints/{endpoint['EndpointName']}",
            )
            for variant in variants
        }

    def _roll_out(self, endpoint: dict[str, Any], green: Fleet, deployment: dict[str, Any]) -> None:
        name = endpoint["EndpointName"]
        traffic = self._traffic[name]
        blue = traffic.serving
        failure = None

        def wait(seconds: float) -> None:
            time.sleep(seconds)
            if self._endpoints.get(name) is not endpoint:
                raise RollbackError("The endpoint was deleted.")

        try:
            green.start(hooks.create_log_stream)
            if blue:
                fleets.replace(traffic, green, deployment, wait=wait, bake_scale=self._settings.bake_scale)
        except (ServingError, RollbackError) as error:
            failure = str(error)
        with self._lock:
            if self._endpoints.get(name) is not endpoint:
                green.stop()
                return
            endpoint.pop("PendingDeploymentSummary", None)
            endpoint["LastModifiedTime"] = time.time()
            if failure is None:
                traffic.settle(green)
                config = green.config
                endpoint["EndpointConfigName"] = config["EndpointConfigName"]
                endpoint["EndpointStatus"] = "InService"
                for variants in ("ProductionVariants", "ShadowProductionVariants"):
                    endpoint[variants] = [_summary_of(variant) for variant in config.get(variants, [])]
                if capture := _capture_of(config):
                    endpoint["DataCaptureConfig"] = capture
                else:
                    endpoint.pop("DataCaptureConfig", None)
            else:
                # A failed update is rolled back: the endpoint is InService again, with the configuration from before.
                endpoint["EndpointStatus"] = "InService" if blue else "Failed"
                endpoint["FailureReason"] = failure
            self._publish(endpoint)
        former = blue if failure is None else green
        if former:
            former.retire()

    def _delete_endpoint(self, request: dict[str, Any]) -> dict[str, Any]:
        endpoint = self._need(self._endpoints, "endpoint", "EndpointName", request)
        if endpoint["EndpointStatus"] in ("Creating", "Updating"):
            raise SageMakerError(f'Cannot update in-progress endpoint "{endpoint["EndpointArn"]}".')
        endpoint["EndpointStatus"] = "Deleting"
        self._publish(endpoint)
        name = endpoint["EndpointName"]
        fleet = self._traffic.pop(name).serving
        if fleet:
            fleet.retire()
        del self._endpoints[name]
        return {}

    def _list_endpoints(self, request: dict[str, Any]) -> dict[str, Any]:
        fields = ("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus")
        status = request.get("StatusEquals")
        chosen = {name: e for name, e in self._endpoints.items() if status in (None, e["EndpointStatus"])}
        return _page(chosen, "Endpoint", fields, request)

    @staticmethod
    def _publish(endpoint: dict[str, Any]) -> None:
        detail = {**endpoint, "EndpointStatus": re.sub("(?<=.)([A-Z])", r"_\1", endpoint["EndpointStatus"]).upper()}
        hooks.put_event("aws.sagemaker", "SageMaker Endpoint State Change", detail, [endpoint["EndpointArn"]])

    # --- runtime ------------------------------------------------------------------------------------------------------

    def invoke(self, name: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """InvokeEndpoint.

        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
        """
        traffic = self._traffic.get(name)
        if traffic is None:
            return _error(400, "ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")
        with traffic.lease() as fleet:
            if fleet is None:
                return _error(400, "ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")
            variant = headers.get("x-amzn-sagemaker-target-variant")
            chosen = fleet.choose(variant)
            if chosen is None:
                return _error(400, "ValidationError", f"Variant {variant} is not found in the endpoint {name}.")
            return self._invoke(name, fleet, chosen, body, headers)

    def _invoke(
        self, name: str, fleet: Fleet, chosen: tuple[str, Server], body: bytes, headers: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        sent = {
            "Content-Type": headers.get("content-type", "application/octet-stream"),
            "Accept": headers.get("accept", "*/*"),
        }
        attributes = headers.get("x-amzn-sagemaker-custom-attributes")
        if attributes:
            sent["X-Amzn-SageMaker-Custom-Attributes"] = attributes
        for shadow in fleet.shadowing():
            self._shadowing.submit(self._ask, name, fleet, shadow, body, sent)
        variant, server = chosen
        answer = self._ask(name, fleet, chosen, body, sent)
        if isinstance(answer, TimeoutError):
            return self._model_error(
                name, server, 0, "", "Your invocation timed out while waiting for a response from container primary."
            )
        if isinstance(answer, OSError):
            message = f"Received server error (502) from primary: {answer}."
            return self._model_error(name, server, 502, "", message)
        if answer.status >= 400:
            text = answer.body.decode("utf-8", "replace")
            side = "client" if answer.status < 500 else "server"
            message = f'Received {side} error ({answer.status}) from primary with message "{text}".'
            return self._model_error(name, server, answer.status, text, message)
        response = {"Content-Type": answer.content_type, "x-Amzn-Invoked-Production-Variant": variant}
        if answer.custom_attributes:
            response["X-Amzn-SageMaker-Custom-Attributes"] = answer.custom_attributes
        return 200, response, answer.body

    def _ask(
        self, name: str, fleet: Fleet, chosen: tuple[str, Server], body: bytes, sent: dict[str, str]
    ) -> Answer | OSError:
        """Ask a variant and note how it answered; the error if it could not be asked."""
        variant, server = chosen
        began = time.perf_counter()
        answer: Answer | OSError
        try:
            answer = server.invoke(body, sent)
        except OSError as error:
            answer = error
        seconds = time.perf_counter() - began
        self._notes.add(
            Invocation(
                endpoint=name,
                config=fleet.name,
                variant=variant,
                status=answer.status if isinstance(answer, Answer) else 500,
                model_seconds=seconds,
                instances=fleet.variant(variant).get("InitialInstanceCount", 1),
            )
        )
        if isinstance(answer, Answer) and answer.status < 400:
            self._notes.capture(
                fleet.config,
                endpoint=name,
                variant=variant,
                request=(sent["Content-Type"], body),
                answer=(answer.content_type, answer.body),
            )
        return answer

    @staticmethod
    def _model_error(
        name: str, server: Server, status: int, text: str, message: str
    ) -> tuple[int, dict[str, str], bytes]:
        group = f"/aws/sagemaker/Endpoints/{name}"
        stream = arn("logs", f"log-group:{group}:log-stream:{server.log_stream}")
        hint = f" See the log group {group} in account {ACCOUNT} for more information."
        details = {"OriginalStatusCode": status, "OriginalMessage": text, "LogStreamArn": stream}
        return _error(424, "ModelError", message + hint, **details)

    # --- model packages -----------------------------------------------------------------------------------------------

    def _create_group(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["ModelPackageGroupName"]
        if name in self._groups_of_packages:
            group_arn = self._groups_of_packages[name]["ModelPackageGroupArn"]
            raise SageMakerError(f"Model Package Group already exists: {group_arn}")
        group_arn = arn("sagemaker", f"model-package-group/{name}")
        self._groups_of_packages[name] = {
            **request,
            "ModelPackageGroupArn": group_arn,
            "CreationTime": time.time(),
            "CreatedBy": {},
            "ModelPackageGroupStatus": "Completed",
        }
        return {"ModelPackageGroupArn": group_arn}

    def _describe_group(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["ModelPackageGroupName"].rpartition("/")[2]
        if name not in self._groups_of_packages:
            raise SageMakerError(f"ModelPackageGroup {arn('sagemaker', f'model-package-group/{name}')} does not exist.")
        return self._groups_of_packages[name]

    def _delete_group(self, request: dict[str, Any]) -> dict[str, Any]:
        name = self._describe_group(request)["ModelPackageGroupName"]
        if any(package.get("ModelPackageGroupName") == name for package in self._packages.values()):
            raise SageMakerError(f"Model Package Group {name} cannot be deleted: it still has model packages")
        del self._groups_of_packages[name]
        return {}

    def _list_groups(self, request: dict[str, Any]) -> dict[str, Any]:
        fields = ("ModelPackageGroupName", "ModelPackageGroupArn", "CreationTime", "ModelPackageGroupStatus")
        page = _page(self._groups_of_packages, "ModelPackageGroup", fields, request)
        return {**page, "ModelPackageGroupSummaryList": page.pop("ModelPackageGroups")}

    def _create_package(self, request: dict[str, Any]) -> dict[str, Any]:
        token = request.get("ClientToken")
        if token and token in self._package_tokens:
            return {"ModelPackageArn": self._package_tokens[token]}
        group = self._describe_group(request)["ModelPackageGroupName"]
        versions = [p["ModelPackageVersion"] for p in self._packages.values() if p["ModelPackageGroupName"] == group]
        version = max(versions, default=0) + 1
        package_arn = arn("sagemaker", f"model-package/{group}/{version}")
        self._packages[package_arn] = {
            "ModelApprovalStatus": "PendingManualApproval",
            **{key: value for key, value in request.items() if key != "ClientToken"},
            "ModelPackageGroupName": group,
            "ModelPackageVersion": version,
            "ModelPackageArn": package_arn,
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
            "CreationTime": time.time(),
        }
        if token:
            self._package_tokens[token] = package_arn
        return {"ModelPackageArn": package_arn}

    def _package(self, reference: str) -> dict[str, Any]:
        package = self._packages.get(reference)
        if package is None:
            raise SageMakerError(f"ModelPackage {reference} does not exist.")
        return package

    def _update_package(self, request: dict[str, Any]) -> dict[str, Any]:
        package = self._package(request["ModelPackageArn"])
        for key in ("ModelApprovalStatus", "ApprovalDescription"):
            if key in request:
                package[key] = request[key]
        properties = {**package.get("CustomerMetadataProperties", {}), **request.get("CustomerMetadataProperties", {})}
        for key in request.get("CustomerMetadataPropertiesToRemove", []):
            properties.pop(key, None)
        package["CustomerMetadataProperties"] = properties
        package["LastModifiedTime"] = time.time()
        return {"ModelPackageArn": package["ModelPackageArn"]}

    def _delete_package(self, request: dict[str, Any]) -> dict[str, Any]:
        del self._packages[self._package(request["ModelPackageName"])["ModelPackageArn"]]
        return {}

    def _list_packages(self, request: dict[str, Any]) -> dict[str, Any]:
        fields = (
            "ModelPackageGroupName",
            "ModelPackageVersion",
            "ModelPackageArn",
            "ModelPackageDescription",
            "CreationTime",
            "ModelPackageStatus",
            "ModelApprovalStatus",
        )
        group = request.get("ModelPackageGroupName", "").rpartition("/")[2]
        if group:
            self._describe_group({"ModelPackageGroupName": group})
        approval = request.get("ModelApprovalStatus")
        chosen = {
            package_arn: package
            for package_arn, package in self._packages.items()
            if (not group or package["ModelPackageGroupName"] == group)
            and approval in (None, package["ModelApprovalStatus"])
        }
        page = _page(chosen, "ModelPackage", fields, request)
        return {**page, "ModelPackageSummaryList": page.pop("ModelPackages")}

    # --- look-ups -----------------------------------------------------------------------------------------------------

    @staticmethod
    def _new(store: dict[str, dict[str, Any]], kind: str, field: str, request: dict[str, Any]) -> str:
        name = str(request[field])
        if not re.fullmatch(_NAME, name):
            raise SageMakerError(
                f"1 validation error detected: Value '{name}' at '{field[:1].lower() + field[1:]}' failed to satisfy "
                f"constraint: Member must satisfy regular expression pattern: {_NAME}"
            )
        if name in store:
            title = kind.replace("endpoint-config", "endpoint configuration")
            raise SageMakerError(f'Cannot create already existing {title} "{arn("sagemaker", f"{kind}/{name}")}".')
        return name

    @staticmethod
    def _need(store: dict[str, dict[str, Any]], kind: str, field: str, request: dict[str, Any]) -> dict[str, Any]:
        name = request[field]
        if name not in store:
            title = kind.replace("endpoint-config", "endpoint configuration")
            raise SageMakerError(f'Could not find {title} "{arn("sagemaker", f"{kind}/{name}")}".')
        return store[name]

    def _delete(
        self, store: dict[str, dict[str, Any]], kind: str, field: str, request: dict[str, Any]
    ) -> dict[str, Any]:
        del store[self._need(store, kind, field, request)[field]]
        return {}


def register(sagemaker: SageMaker) -> None:
    """Make the service answer at the instance's endpoint."""
    sagemaker.start()
    invocations = ThreadPoolExecutor(max_workers=64, thread_name_prefix="invocation")

    def control(operation: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        try:
            answer = sagemaker.call(operation, json.loads(body or b"{}"))
        except SageMakerError as error:
            return _error(400, error.code, str(error))
        return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(answer).encode()

    async def handle(
        method: str, path: str, headers: dict[str, str], body: bytes, _: dict[str, Any]
    ) -> tuple[int, dict[str, str], bytes]:
        loop = asyncio.get_running_loop()
        invocation = _INVOCATION.match(path)
        if invocation and method == "POST":
            name = unquote(invocation.group(1))
            return await loop.run_in_executor(invocations, sagemaker.invoke, name, body or b"", headers)
        operation = headers.get("x-amz-target", "").rpartition(".")[2]
        return await asyncio.to_thread(control, operation, body)

    hooks.add_service("sagemaker", handle, "SageMaker.")


def _error(status: int, code: str, message: str, **details: Any) -> tuple[int, dict[str, str], bytes]:
    body = {"__type": code, "message": message, "Message": message, **details}
    return status, {"Content-Type": "application/json", "x-amzn-ErrorType": code}, json.dumps(body).encode()


def _containers(model: dict[str, Any]) -> list[dict[str, Any]]:
    containers: list[dict[str, Any]] = (
        [model["PrimaryContainer"]] if "PrimaryContainer" in model else model["Containers"]
    )
    return containers


def _summary_of(variant: dict[str, Any]) -> dict[str, Any]:
    weight = variant.get("InitialVariantWeight", 1.0)
    summary = {"VariantName": variant["VariantName"], "CurrentWeight": weight, "DesiredWeight": weight}
    if "ServerlessConfig" in variant:
        return {**summary, "CurrentServerlessConfig": variant["ServerlessConfig"]}
    count = variant.get("InitialInstanceCount", 1)
    return {**summary, "CurrentInstanceCount": count, "DesiredInstanceCount": count}


def _capture_of(config: dict[str, Any]) -> dict[str, Any] | None:
    """How DescribeEndpoint shows a configuration's data capture."""
    settings = config.get("DataCaptureConfig")
    if not settings:
        return None
    return {
        "EnableCapture": settings.get("EnableCapture", False),
        "CaptureStatus": "Started" if settings.get("EnableCapture") else "Stopped",
        "CurrentSamplingPercentage": settings["InitialSamplingPercentage"],
        "DestinationS3Uri": settings["DestinationS3Uri"],
    }


def _page(
    store: dict[str, dict[str, Any]], kind: str, fields: tuple[str, ...], request: dict[str, Any]
) -> dict[str, Any]:
    """One page of a List operation: filtered by NameContains, newest first unless asked otherwise."""
    wanted = request.get("NameContains", "").lower()
    key = "Name" if request.get("SortBy") == "Name" else "CreationTime"
    by_name = f"{kind}Name" if kind != "ModelPackage" else "ModelPackageArn"
    found = [item for item in store.values() if wanted in str(item[by_name]).lower()]
    found.sort(
        key=lambda item: item[by_name] if key == "Name" else item["CreationTime"],
        reverse=request.get("SortOrder", "Descending") != "Ascending",
    )
    start = int(request.get("NextToken") or 0)
    end = start + int(request.get("MaxResults") or 10)
    page: dict[str, Any] = {
        f"{kind}s": [{field: item[field] for field in fields if field in item} for item in found[start:end]]
    }
    if end < len(found):
        page["NextToken"] = str(end)
    return page

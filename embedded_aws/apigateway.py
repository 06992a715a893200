"""API Gateway: its integration with the SageMaker runtime, without a function between, and what it answers itself.

https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-api-integration-types.html
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote

from embedded_aws import hooks
from embedded_aws.access import permissions, resources
from embedded_aws.settings import arn

_MODULE = "services.apigateway_v1"
_PROVISIONERS = "services.cloudformation.provisioners"
_INVOCATION = re.compile(r"endpoints/([^/]+)/invocations")
_PATH_PARAMETER = "integration.request.path."
_LARGEST_REQUEST = 10 * 1024 * 1024
_Invoke = Callable[[str, bytes, dict[str, str]], tuple[int, dict[str, str], bytes]]
_Response = tuple[int, dict[str, str], bytes]


def install(invoke: _Invoke) -> None:
    """Send integrations with `runtime.sagemaker:path/endpoints/{name}/invocations` to `invoke(name, body, headers)`."""
    call_service: Callable[..., Awaitable[_Response]] = hooks.private(_MODULE, "_invoke_lambda_custom_v1")
    parse_uri = hooks.private(_MODULE, "_parse_service_integration_uri")
    select_response = hooks.private(_MODULE, "_select_service_integration_response")
    threads = ThreadPoolExecutor(max_workers=64, thread_name_prefix="gateway")

    async def call(
        integration: dict[str, Any],
        api_id: str,
        stage_name: str,
        stage: Any,
        resource: Any,
        request_path: str,
        method: str,
        headers: dict[str, str],
        body: bytes | None,
        query_params: Any,
        path_params: dict[str, str] | None,
        **more: Any,
    ) -> _Response:
        uri = parse_uri(integration.get("uri", ""))
        if not uri or uri[1] != "runtime.sagemaker":
            given = (integration, api_id, stage_name, stage, resource, request_path, method, headers, body)
            return await call_service(*given, query_params, path_params, **more)
        name = _endpoint(uri[3], integration, path_params or {})
        try:
            about = resources.sagemaker("InvokeEndpoint", {"EndpointName": name})
            permissions.check(integration.get("credentials") or "", "sagemaker:InvokeEndpoint", about)
        except permissions.DeniedError as denied:
            selected = select_response(integration, 403)
            code = int(selected["statusCode"]) if selected else 500
            return code, {"Content-Type": "application/json"}, json.dumps({"Message": str(denied)}).encode()
        loop = asyncio.get_running_loop()
        status, answered, answer = await loop.run_in_executor(threads, invoke, name, body or b"", headers)
        selected = select_response(integration, status)
        code = int(selected["statusCode"]) if selected else 500
        content_type = {key.lower(): value for key, value in answered.items()}.get("content-type", "application/json")
        return code, {"Content-Type": content_type}, answer

    hooks.replace(_MODULE, "_invoke_lambda_custom_v1", call)
    _ask_functions_for_permission()
    _refuse_large_requests()
    _hide_what_went_wrong()
    _read_paths_of_method_settings()


def _ask_functions_for_permission() -> None:
    """A function is called if its policy lets API Gateway do so for the method.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-control-access-using-iam-policies-to-invoke-api.html
    """
    invoke: Callable[..., Awaitable[_Response]] = hooks.private(_MODULE, "_invoke_lambda_proxy_v1")

    async def invoke_permitted(
        integration: dict[str, Any], api_id: str, stage_name: str, stage: Any, resource: Any, *rest: Any, **more: Any
    ) -> _Response:
        function = re.search(r"/functions/([^/]+)/invocations", integration.get("uri", ""))
        method = rest[1]
        try:
            if function:
                source = arn("execute-api", f"{api_id}/{stage_name}/{method}{resource.get('path', '/')}")
                policy = hooks.policy_of_function(function[1])
                service = "apigateway.amazonaws.com"
                permissions.check_service(service, "lambda:InvokeFunction", function[1], policy, source)
        except permissions.DeniedError:
            return 500, {"Content-Type": "application/json"}, b'{"message": "Internal server error"}'
        return await invoke(integration, api_id, stage_name, stage, resource, *rest, **more)

    hooks.replace(_MODULE, "_invoke_lambda_proxy_v1", invoke_permitted)


def _refuse_large_requests() -> None:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html"""
    execute: Callable[..., Awaitable[_Response]] = hooks.private(_MODULE, "handle_execute")

    async def execute_within_limit(
        api_id: str, stage: str, method: str, path: str, headers: Any, body: bytes | None, query: Any
    ) -> _Response:
        if body and len(body) > _LARGEST_REQUEST:
            return 413, {"Content-Type": "application/json"}, b'{"message": "Request Too Long"}'
        return await execute(api_id, stage, method, path, headers, body, query)

    hooks.replace(_MODULE, "handle_execute", execute_within_limit)


def _hide_what_went_wrong() -> None:
    """A caller does not learn of a function's exception, and an answer that is none is a bad gateway.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """
    shape = hooks.private(_MODULE, "_lambda_proxy_response")

    def proxy_response(result: dict[str, Any]) -> tuple[Any, str | None]:
        answer, error = shape(result)
        malformed = not result.get("error") and not isinstance(result.get("body"), dict)
        return (None, "Internal server error") if error or malformed else (answer, None)

    hooks.replace(_MODULE, "_lambda_proxy_response", proxy_response)


def _read_paths_of_method_settings() -> None:
    """CloudFormation writes `/policies/x` as `/~1policies~1x` where a stage's settings name a method.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-properties-apigateway-stage-methodsetting.html
    """
    read = hooks.private(_PROVISIONERS, "_apigw_method_settings")

    def read_decoded(settings: Any) -> Any:
        if not isinstance(settings, list):
            return read(settings)
        return read(
            [
                {**item, "ResourcePath": _decoded(item["ResourcePath"])} if "~1" in str(item) else item
                for item in settings
            ]
        )

    hooks.replace(_PROVISIONERS, "_apigw_method_settings", read_decoded)


def _decoded(path: str) -> str:
    return "/" + path.replace("~1", "/").lstrip("/")


def _endpoint(path: str, integration: dict[str, Any], path_params: dict[str, str]) -> str:
    """The endpoint's name, with the method's path parameters put in where the integration says so."""
    for target, source in (integration.get("requestParameters") or {}).items():
        if target.startswith(_PATH_PARAMETER):
            value = path_params.get(source.rpartition(".")[2], "")
            path = path.replace(f"{{{target.removeprefix(_PATH_PARAMETER)}}}", value)
    found = _INVOCATION.fullmatch(path)
    return unquote(found.group(1)) if found else ""

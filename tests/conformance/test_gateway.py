"""REST APIs of API Gateway: what is checked before anybody is called, and how answers are mapped."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.conformance.account import Account, unique

FUNCTION = """
import json

def handler(event, context):
    if event["queryStringParameters"] == {"how": "raise"}:
        raise ValueError("always")
    if event["queryStringParameters"] == {"how": "malformed"}:
        return "not an answer of a proxy"
    kept = ("httpMethod", "path", "resource", "pathParameters", "queryStringParameters", "body")
    headers = {"Content-Type": "application/json", "X-Kind": "echo"}
    return {"statusCode": 201, "headers": headers, "body": json.dumps({key: event[key] for key in kept})}
"""
MODEL = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "object",
    "required": ["observation"],
    "properties": {"observation": {"type": "array", "items": {"type": "number"}}},
}


class Gateway:
    """An API with a function behind `/things/{thing}`, and endpoints behind `/policies/{endpoint}/action`."""

    def __init__(self, aws: Account) -> None:
        self._aws = aws
        self._client = aws.client("apigateway")
        self.api: str = self._client.create_rest_api(name=unique("api"), apiKeySource="HEADER")["id"]
        aws.made(lambda: self._client.delete_rest_api(restApiId=self.api))
        self._validator = self._client.create_request_validator(
            restApiId=self.api, name="all", validateRequestBody=True, validateRequestParameters=True
        )["id"]
        self._client.create_model(
            restApiId=self.api, name="Body", contentType="application/json", schema=json.dumps(MODEL)
        )
        self._add_function()
        self._add_endpoints()
        self._client.create_deployment(restApiId=self.api, stageName="v1")
        self.url = aws.api_url(self.api, "v1")

    def _resource(self, *parts: str) -> str:
        parent: str = self._client.get_resources(restApiId=self.api)["items"][0]["id"]
        for part in parts:
            parent = self._client.create_resource(restApiId=self.api, parentId=parent, pathPart=part)["id"]
        return parent

    def _add_function(self) -> None:
        name = self._aws.function(FUNCTION)
        arn = self._aws.arn("lambda", f"function:{name}")
        self._aws.functions.add_permission(
            FunctionName=name, StatementId="api", Action="lambda:InvokeFunction", Principal="apigateway.amazonaws.com"
        )
        where = {"restApiId": self.api, "resourceId": self._resource("things", "{thing}")}
        uri = f"arn:aws:apigateway:{self._aws.region}:lambda:path/2015-03-31/functions/{arn}/invocations"
        methods: dict[str, dict[str, Any]] = {
            "GET": {},
            "POST": {"requestModels": {"application/json": "Body"}, "requestValidatorId": self._validator},
            "PUT": {
                "requestParameters": {"method.request.querystring.experiment": True},
                "requestValidatorId": self._validator,
            },
            "DELETE": {"apiKeyRequired": True},
        }
        for method, settings in methods.items():
            self._client.put_method(**where, httpMethod=method, authorizationType="NONE", **settings)
            self._client.put_integration(
                **where, httpMethod=method, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri
            )

    def _add_endpoints(self) -> None:
        where = {"restApiId": self.api, "resourceId": self._resource("policies", "{endpoint}", "action")}
        method = {**where, "httpMethod": "POST"}
        self._client.put_method(
            **method, authorizationType="NONE", requestParameters={"method.request.path.endpoint": True}
        )
        self._client.put_integration(
            **method,
            type="AWS",
            integrationHttpMethod="POST",
            uri=f"arn:aws:apigateway:{self._aws.region}:runtime.sagemaker:path/endpoints/{{endpoint}}/invocations",
            credentials=self._aws.role("apigateway"),
            requestParameters={"integration.request.path.endpoint": "method.request.path.endpoint"},
        )
        for status, pattern in (("200", {}), ("400", {"selectionPattern": r"4\d{2}"})):
            self._client.put_method_response(**method, statusCode=status)
            self._client.put_integration_response(**method, statusCode=status, **pattern)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any, Any]:
        """Status, headers and body of an answer."""
        sent = {"Content-Type": "application/json", **{key.replace("_", "-"): value for key, value in headers.items()}}
        request = urllib.request.Request(self.url + path, data=body, method=method, headers=sent)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode()


@pytest.fixture(scope="module")
def gateway(aws: Account) -> Gateway:
    gateway = Gateway(aws)
    aws.until(lambda: gateway.ask("GET", "/things/x")[0] == 201, what="the API is deployed")
    return gateway


@pytest.mark.page("apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html")
def test_a_function_gets_the_request_and_its_answer_is_the_answer(gateway: Gateway) -> None:
    status, headers, body = gateway.ask("POST", "/things/cartpole?limit=3", b'{"observation": [1]}')

    assert (status, headers["X-Kind"]) == (201, "echo")
    assert json.loads(body) == {
        "httpMethod": "POST",
        "path": "/things/cartpole",
        "resource": "/things/{thing}",
        "pathParameters": {"thing": "cartpole"},
        "queryStringParameters": {"limit": "3"},
        "body": '{"observation": [1]}',
    }


@pytest.mark.page("apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html")
@pytest.mark.parametrize("how", ["raise", "malformed"])
def test_a_function_that_fails_or_answers_nonsense_is_a_bad_gateway(gateway: Gateway, how: str) -> None:
    status, _, body = gateway.ask("GET", f"/things/x?how={how}")

    assert (status, json.loads(body)) == (502, {"message": "Internal server error"})


@pytest.mark.page("apigateway/latest/developerguide/api-gateway-method-request-validation.html")
@pytest.mark.parametrize("body", [b"{}", b'{"observation": "text"}', b"[1]", b"{"])
def test_a_body_that_does_not_fit_its_model_reaches_nobody(gateway: Gateway, body: bytes) -> None:
    status, headers, answer = gateway.ask("POST", "/things/x", body)

    assert (status, json.loads(answer)) == (400, {"message": "Invalid request body"})
    assert headers["X-Kind"] is None


@pytest.mark.page("apigateway/latest/developerguide/api-gateway-method-request-validation.html")
def test_a_parameter_that_must_be_given_is_named(gateway: Gateway) -> None:
    status, _, answer = gateway.ask("PUT", "/things/x", b"")

    assert status == 400
    assert json.loads(answer) == {"message": "Missing required request parameters: [experiment]"}
    assert gateway.ask("PUT", "/things/x?experiment=walker", b"")[0] == 201


@pytest.mark.page("apigateway/latest/developerguide/supported-gateway-response-types.html")
def test_a_path_that_does_not_exist_asks_for_a_token(gateway: Gateway) -> None:
    status, _, answer = gateway.ask("GET", "/nothing")

    assert (status, json.loads(answer)) == (403, {"message": "Missing Authentication Token"})


@pytest.mark.page("apigateway/latest/developerguide/api-gateway-setup-api-key-with-console.html")
def test_a_method_that_needs_a_key_is_forbidden_without_one(gateway: Gateway) -> None:
    status, _, answer = gateway.ask("DELETE", "/things/x")

    assert (status, json.loads(answer)) == (403, {"message": "Forbidden"})
    assert gateway.ask("DELETE", "/things/x", x_api_key="wrong" * 5)[0] == 403


@pytest.mark.page("apigateway/latest/developerguide/api-gateway-api-integration-types.html")
def test_an_endpoint_is_asked_without_a_function_between(aws: Account, gateway: Gateway) -> None:
    endpoint = aws.endpoint(aws.model("chosen "))

    assert gateway.ask("POST", f"/policies/{endpoint}/action", b"action")[::2] == (200, "chosen action")
    assert gateway.ask("POST", f"/policies/{endpoint}/action", b"wrong")[0] == 400, "the container's 4xx"
    status, _, answer = gateway.ask("POST", "/policies/nobody/action", b"x")
    assert status == 400
    assert "not found" in answer


@pytest.mark.page("apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html")
def test_a_request_over_ten_megabytes_is_too_large(gateway: Gateway) -> None:
    status, _, answer = gateway.ask("POST", "/policies/x/action", b"x" * (10 * 1024 * 1024 + 1))

    assert status == 413
    assert json.loads(answer)["message"].lower() == "request too long"

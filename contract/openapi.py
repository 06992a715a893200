"""The OpenAPI document of the HTTP API, made from its routes."""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from contract.api import EXPERIMENT_PATTERN, MAX_LISTED, ROUTES, RUN_ID_PATTERN, Route
from contract.layout import MAX_NAME
from contract.run import ENDPOINT_PATTERN, RunSpecification

RUN_FILE_SCHEMA = "run.schema.json"
"""The run file's own schema, which lies beside this document."""

_COMPONENTS = "#/components/schemas/{model}"
_PATH_PARAMETERS = {
    "run_id": {"type": "string", "pattern": RUN_ID_PATTERN},
    "endpoint": {"type": "string", "pattern": ENDPOINT_PATTERN, "maxLength": MAX_NAME},
}
_QUERY_SCHEMAS: dict[str, dict[str, Any]] = {
    "experiment": {"type": "string", "pattern": EXPERIMENT_PATTERN},
    "limit": {"type": "integer", "minimum": 1, "maximum": MAX_LISTED, "default": 20},
    "next": {"type": "string"},
}
_MEANINGS = {
    200: "It is.",
    202: "Accepted; it is being carried out.",
    400: "The request cannot be.",
    404: "There is no such run or endpoint.",
    409: "It makes no sense now; `possible` lists what does.",
    502: "The endpoint failed.",
}


def openapi() -> dict[str, Any]:
    """The document."""
    bodies = [route.body for route in ROUTES if route.body not in (None, RunSpecification)]
    answers = [model for route in ROUTES for model in route.answers.values()]
    models: list[Any] = list(dict.fromkeys([*bodies, *answers]))
    _, schemas = models_json_schema([(model, "validation") for model in models], ref_template=_COMPONENTS)
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "rlpipe",
            "version": "1",
            "description": "Runs and policies. The URL is the output `ApiUrl` of the stack `rlpipe-<stage>-api`. "
            "Requests are signed with AWS credentials (service `execute-api`), or carry `x-api-key` where the "
            "settings say so.",
        },
        "servers": [
            {
                "url": "https://{api}.execute-api.{region}.amazonaws.com/v1",
                "variables": {"api": {"default": "abcdef1234"}, "region": {"default": "us-east-1"}},
            }
        ],
        "security": [{"iam": []}, {"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "iam": {
                    "type": "apiKey",
                    "name": "Authorization",
                    "in": "header",
                    "x-amazon-apigateway-authtype": "awsSigv4",
                },
                "key": {"type": "apiKey", "name": "x-api-key", "in": "header"},
            },
            "schemas": schemas["$defs"],
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": schema}
        for name, schema in _PATH_PARAMETERS.items()
        if f"{{{name}}}" in route.path
    ] + [
        {
            "name": name,
            "in": "query",
            "required": name in route.required,
            "description": description,
            "schema": _QUERY_SCHEMAS[name],
        }
        for name, description in route.query.items()
    ]
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": parameters,
        "responses": {
            **{str(status): _answer(_MEANINGS[status], model) for status, model in route.answers.items()},
            "403": {"description": "Not allowed, or no such path."},
            "429": {"description": "Too many requests."},
        },
    }
    if route.body is not None:
        content = _content(route.body)
        if route.body is RunSpecification:
            content = {kind: {"schema": {"$ref": RUN_FILE_SCHEMA}} for kind in ("application/json", "application/yaml")}
        operation["requestBody"] = {"required": route.body_required, "content": content}
    return operation


def _answer(description: str, model: type[BaseModel]) -> dict[str, Any]:
    return {"description": description, "content": _content(model)}


def _content(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _COMPONENTS.format(model=model.__name__)}}}

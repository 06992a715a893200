"""The HTTP API: its methods are the routes of the contract, and nobody unknown gets in."""

import json
from typing import Any

from contract.api import ROUTES, Problem, Route
from contract.openapi import openapi
from contract.record import LISTED, NEWEST_FIRST, RunRecord
from tests.infra.conftest import ROOT, Stage, statements


def methods(stage: Stage) -> dict[tuple[str, str], dict[str, Any]]:
    """The properties of every method, by HTTP method and path."""
    resources = stage.resources("AWS::ApiGateway::Resource", "api")

    def path(reference: dict[str, Any]) -> str:
        if "Ref" not in reference:
            return ""  # the root
        resource = resources[reference["Ref"]]
        return f"{path(resource['ParentId'])}/{resource['PathPart']}"

    found = stage.resources("AWS::ApiGateway::Method", "api").values()
    return {(method["HttpMethod"], path(method["ResourceId"])): method for method in found}


def routes(stage: Stage) -> list[Route]:
    """Those that a stage has: services are asked where it has some."""
    return [route for route in ROUTES if route.name != "askService" or stage.settings.serving.ecs]


def test_the_methods_are_the_routes(stage: Stage) -> None:
    assert set(methods(stage)) == {(route.method, route.path) for route in routes(stage)}


def test_the_document_describes_the_methods(stage: Stage) -> None:
    document = json.loads((ROOT / "docs" / "reference" / "openapi.json").read_text())
    assert document == openapi(), "run `python -m cli.reference`"
    described = {
        (method.upper(), path): operation["operationId"]
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    named = {(route.method, route.path) for route in routes(stage)}
    described = {key: name for key, name in described.items() if key in named}
    assert described == {key: method["OperationName"] for key, method in methods(stage).items()}


def test_only_callers_that_iam_knows_get_in(stage: Stage) -> None:
    assert {method["AuthorizationType"] for method in methods(stage).values()} == {"AWS_IAM"}
    assert stage.resources("AWS::ApiGateway::ApiKey") == {}


def test_a_policy_is_asked_without_a_function_between(stage: Stage) -> None:
    integration = methods(stage)["POST", "/policies/{endpoint}/action"]["Integration"]
    assert integration["Type"] == "AWS"
    assert ":runtime.sagemaker:path/endpoints/{endpoint}/invocations" in json.dumps(integration["Uri"])
    patterns = [answer.get("SelectionPattern") for answer in integration["IntegrationResponses"]]
    assert patterns == [None, r"4\d{2}", r"5\d{2}"]
    [role, _] = integration["Credentials"]["Fn::GetAtt"]
    [allowed] = [
        statement
        for policy in stage.resources("AWS::IAM::Policy", "api").values()
        if {"Ref": role} in policy["Roles"]
        for statement in statements(policy)
    ]
    assert allowed["Action"] == ["sagemaker:InvokeEndpoint"]


def test_every_other_method_is_a_function(stage: Stage) -> None:
    functions = {"policies": "EndpointsFunction", "services": "GetAttAsk"}
    for (_, path), method in methods(stage).items():
        if path != "/policies/{endpoint}/action":
            assert method["Integration"]["Type"] == "AWS_PROXY"
            function = functions.get(path.split("/")[1], "Control")
            assert function in json.dumps(method["Integration"]["Uri"])


def test_requests_are_checked_throttled_and_logged(stage: Stage) -> None:
    for method in methods(stage).values():
        assert "RequestValidatorId" in method
    checked = {key for key, method in methods(stage).items() if "RequestModels" in method}
    assert checked == {(route.method, route.path) for route in routes(stage) if route.checked}
    assert methods(stage)["POST", "/runs"]["RequestParameters"] == {"method.request.querystring.experiment": True}
    deployed = stage.one("AWS::ApiGateway::Stage")
    assert "$context.status" in deployed["AccessLogSetting"]["Format"]
    limits = {(it["ResourcePath"], it["HttpMethod"]): it["ThrottlingRateLimit"] for it in deployed["MethodSettings"]}
    assert limits == {
        ("/*", "*"): stage.settings.api.requests_per_second,
        ("/~1policies~1{endpoint}~1action", "POST"): stage.settings.api.actions_per_second,
    }


def test_what_api_gateway_refuses_itself_reads_like_what_the_functions_refuse(stage: Stage) -> None:
    refusals = {it["ResponseType"]: it for it in stage.resources("AWS::ApiGateway::GatewayResponse").values()}
    assert set(refusals) == {"BAD_REQUEST_BODY", "BAD_REQUEST_PARAMETERS"}
    for refusal in refusals.values():
        template = refusal["ResponseTemplates"]["application/json"]
        Problem.model_validate_json(template.replace("$context.error.messageString", '"Invalid request body"'))


def test_the_firewall_is_before_production_only(stages: dict[str, Stage]) -> None:
    for name, stage in stages.items():
        assert len(stage.resources("AWS::WAFv2::WebACLAssociation")) == (name == "prod")


def test_no_web_page_may_call_it_unless_named(stage: Stage) -> None:
    assert not [key for key in methods(stage) if key[0] == "OPTIONS"]


def test_a_key_with_a_plan_can_take_the_place_of_iam(brought: Stage) -> None:
    ours = {key: method for key, method in methods(brought).items() if key[0] != "OPTIONS"}
    assert {(method["AuthorizationType"], method["ApiKeyRequired"]) for method in ours.values()} == {("NONE", True)}
    plan = brought.one("AWS::ApiGateway::UsagePlan")
    assert plan["Quota"] == {"Limit": 7, "Period": "DAY"}
    assert len(brought.resources("AWS::ApiGateway::UsagePlanKey")) == 1


def test_a_named_web_page_may_call_it(brought: Stage) -> None:
    assert len([key for key in methods(brought) if key[0] == "OPTIONS"]) > 0


def test_jobs_tell_the_control_function_of_themselves(stage: Stage) -> None:
    rule = stage.one("AWS::Events::Rule", "JobChanged")
    assert len(rule["EventPattern"]["detail"]["jobQueue"]) == 4
    # Whoever pauses a run while its job is submitted relies on the first of these.
    assert rule["EventPattern"]["detail"]["status"] == ["RUNNABLE", "RUNNING", "SUCCEEDED", "FAILED"]


def test_the_run_table_can_be_restored_and_lists_all_that_a_list_shows(stage: Stage) -> None:
    table = stage.one("AWS::DynamoDB::Table")
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert "TimeToLiveSpecification" not in table
    assert table["DeletionProtectionEnabled"] is stage.settings.protect
    [index] = table["GlobalSecondaryIndexes"]
    assert index["IndexName"] == NEWEST_FIRST
    shown = set(RunRecord.model_fields) - {"possible", "attempts", "timesteps", "mean_return", "cost_usd", "history"}
    assert set(index["Projection"]["NonKeyAttributes"]) == set(LISTED) == shown - {"run_id", "submitted_at"}


def test_the_run_files_own_schema_lies_beside_the_document() -> None:
    submit = openapi()["paths"]["/runs"]["post"]["requestBody"]["content"]["application/yaml"]
    assert (ROOT / "docs" / "reference" / submit["schema"]["$ref"]).is_file()

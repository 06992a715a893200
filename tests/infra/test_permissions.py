"""Who may do what: exactly what is used, in both directions."""

import ast
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from contract.metrics import NAMESPACE
from tests.infra.conftest import ROOT, Properties, Stage, statements

FUNCTIONS = (
    "trigger",
    "data_arrived",
    "prepare",
    "endpoints",
    "smoke_test",
    "finish",
    "control",
    "alert",
    "sweeper",
    "ask",
)
TEARDOWN = "teardown"

# https://docs.aws.amazon.com/step-functions/latest/dg/connect-batch.html
NEEDED_BY_SYNC = {
    "batch:DescribeJobs",
    "batch:TerminateJob",
    "events:PutTargets",
    "events:PutRule",
    "events:DescribeRule",
}

# https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
NEEDED_FOR_LOGS = {
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
}

# https://docs.aws.amazon.com/step-functions/latest/dg/concepts-xray-tracing.html
NEEDED_FOR_TRACES = {
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}

# A model runs as a role, an alarm is made with a tag, and scaling acts for whoever registers.
# https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-prerequisites.html
NEEDED_FOR_ENDPOINTS = {
    "iam:PassRole",
    "cloudwatch:TagResource",
    "sagemaker:AddTags",
    "iam:CreateServiceLinkedRole",
    "sagemaker:UpdateEndpointWeightsAndCapacities",
}

# What is made of them has tags.
NEEDED_FOR_SERVICES = {"ecs:TagResource", "elasticloadbalancing:AddTags"}

OWN_LOG = {"logs:CreateLogStream", "logs:PutLogEvents"}

# Where the permissions are not called like the operation.
ACTIONS = {
    ("stepfunctions", "start_execution"): {"states:StartExecution"},
    ("stepfunctions", "send_task_success"): {"states:SendTaskSuccess"},
    ("stepfunctions", "send_task_failure"): {"states:SendTaskFailure"},
    ("stepfunctions", "redrive_execution"): {"states:RedriveExecution"},
    ("stepfunctions", "describe_execution"): {"states:DescribeExecution"},
    ("stepfunctions", "stop_execution"): {"states:StopExecution"},
    ("sagemaker-runtime", "invoke_endpoint"): {"sagemaker:InvokeEndpoint"},
    ("s3", "list_object_versions"): {"s3:ListBucketVersions"},
    ("s3", "list_objects_v2"): {"s3:ListBucket"},
    ("lambda", "invoke"): {"lambda:InvokeFunction"},
}


def test_the_state_machine_may_do_what_its_states_do_and_nothing_else(stage: Stage) -> None:
    definition = json.loads((ROOT / "statemachine" / "pipeline.asl.json").read_text())
    needed = NEEDED_FOR_LOGS | NEEDED_FOR_TRACES
    for state in _tasks(definition):
        needed |= _actions(state)
    assert _granted(stage, "StateMachineRole") == needed


def test_an_aborted_execution_can_terminate_its_job(stage: Stage) -> None:
    assert {"batch:DescribeJobs", "batch:TerminateJob"} <= _granted(stage, "StateMachineRole")


def test_an_execution_may_submit_the_revision_it_began_with(stage: Stage) -> None:
    [submit] = [s for s in _statements_of(stage, "StateMachineRole") if "batch:SubmitJob" in s["Action"]]
    definitions = [str(resource) for resource in submit["Resource"] if ":job-definition/" in str(resource)]
    assert len(definitions) == 4
    assert all("':*'" in resource for resource in definitions)


def test_roles_are_passed_to_whom_they_are_for_only(stage: Stage) -> None:
    passing = [s for policy in _policies(stage) for s in statements(policy) if "iam:PassRole" in s["Action"]]
    conditions = [statement["Condition"]["StringEquals"] for statement in passing]
    on_ecs = ["ecs-tasks.amazonaws.com", "ecs.amazonaws.com"] if stage.settings.serving.ecs else []
    services = ["sagemaker.amazonaws.com", *on_ecs]
    assert conditions == [{"iam:PassedToService": service} for service in services]
    assert not any("*" in statement["Resource"] for statement in passing)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_may_do_what_it_calls_and_nothing_else(stage: Stage, name: str) -> None:
    if name == "ask" and not stage.settings.serving.ecs:
        return
    function = stage.one("AWS::Lambda::Function", "".join(part.title() for part in name.split("_")))
    modules = [path for path in (ROOT / "lambdas" / name).glob("*.py") if "boto3.client" in path.read_text()]
    if name == "sweeper" and stage.settings.sweeper.mode == "report":
        modules = [path for path in modules if path.stem != "ending"]
    if not stage.settings.serving.ecs:
        modules = [path for path in modules if path.stem not in ("services", "asking")]
    needed = OWN_LOG.union(*map(_calls, modules))
    if name == "sweeper" and not stage.settings.serving.ecs:
        needed = {action for action in needed if not action.startswith("ecs:")}
    if name in ("control", "endpoints", "sweeper"):
        needed |= {"s3:ListBucket"}  # so that what was never written reads as missing, not as denied
    if name == "endpoints":
        needed |= NEEDED_FOR_ENDPOINTS | (NEEDED_FOR_SERVICES if stage.settings.serving.ecs else set())
    if name == "data_arrived":
        # A run file that is not there must read as missing, too; and a queue calls it.
        needed |= {"s3:ListBucket", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"}
        needed |= {"sqs:GetQueueAttributes", "sqs:GetQueueUrl"}
    if "DeadLetterConfig" in function:
        needed |= {"sqs:SendMessage"}
    [role, _] = function["Role"]["Fn::GetAtt"]
    assert _granted(stage, role) == needed


def test_the_teardown_may_do_what_it_calls_and_nothing_else(stages: dict[str, Stage]) -> None:
    granted = _granted(stages["dev"], "FilesTeardown") | _granted(stages["dev"], "ModelsTeardown")
    needed = {
        action
        for action in _calls(ROOT / "lambdas" / TEARDOWN / "handler.py")
        if not action.startswith(("ecs:", "elasticloadbalancing:"))  # dev has no services
    }
    assert _granted(stages["dev"], "FilesTeardown") & _granted(stages["dev"], "ModelsTeardown") >= OWN_LOG
    # Emptying a bucket deletes versions, which is another permission than the one its operation is called after.
    assert granted == OWN_LOG | needed - {"s3:DeleteObjects"} | {"s3:DeleteObject", "s3:DeleteObjectVersion"}


def test_the_teardown_deletes_in_the_stages_own_buckets_and_group_only(stages: dict[str, Stage]) -> None:
    dev = stages["dev"]
    for statement in [*_statements_of(dev, "FilesTeardown"), *_statements_of(dev, "ModelsTeardown")]:
        if any(action.startswith("s3:Delete") for action in statement["Action"]):
            buckets = {resource["Fn::Join"][1][0]["Fn::GetAtt"][0] for resource in statement["Resource"]}
            assert buckets <= set(dev.resources("AWS::S3::Bucket"))
        if "sagemaker:DeleteModelPackage" in statement["Action"]:
            assert all("model-package/rlpipe-dev/" in str(resource) for resource in statement["Resource"])


def test_training_may_do_what_its_storage_calls_and_nothing_else(stage: Stage) -> None:
    called = _calls_on(ROOT / "training_image" / "trainer" / "storage.py", "self._client", "s3")
    needed = called - {"s3:DeleteObjects"} | {"s3:DeleteObject", "s3:PutObjectTagging"}
    assert _granted(stage, "JobsTrainRole") == needed


def test_the_serving_container_calls_nothing_by_an_sdk() -> None:
    """SageMaker fetches its model, and network isolation would stop any call; elsewhere it is one request."""
    for module in (ROOT / "serving_image").rglob("*.py"):
        assert "boto" not in module.read_text(), module


def test_every_handler_exists(stage: Stage) -> None:
    handlers = {function["Handler"] for function in stage.resources("AWS::Lambda::Function").values()}
    expected = {*FUNCTIONS, *([TEARDOWN] if stage.settings.empty_on_destroy else [])}
    expected -= set() if stage.settings.serving.ecs else {"ask"}
    assert handlers == {f"lambdas.{name}.handler.handler" for name in expected}
    for handler in handlers:
        module, _, function = handler.rpartition(".")
        tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_function_gets_the_variables_it_reads_and_no_others(stage: Stage) -> None:
    for function in stage.resources("AWS::Lambda::Function").values():
        folder = (ROOT / f"{function['Handler'].rpartition('.')[0].replace('.', '/')}.py").parent
        read = {
            node.slice.value
            for path in folder.glob("*.py")
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Subscript)
            and isinstance(node.slice, ast.Constant)
            and ast.unparse(node.value) == "os.environ"
        }
        assert set(function.get("Environment", {}).get("Variables", {})) == read


def test_jobs_read_and_write_files_and_only_training_deletes(stage: Stage) -> None:
    objects = {"s3:GetObject", "s3:PutObject"}
    assert _granted(stage, "JobsTrainRole") == objects | {"s3:DeleteObject", "s3:ListBucket", "s3:PutObjectTagging"}
    assert _granted(stage, "JobsValidateRole") == objects | {"s3:ListBucket"}
    assert _granted(stage, "JobsPrepareDataRole") == objects | {"s3:ListBucket", "s3:GetObjectVersion"}
    for role in ("JobsTrainRole", "JobsValidateRole", "JobsPrepareDataRole"):
        for statement in _statements_of(stage, role):
            if statement["Action"] == ["s3:ListBucket"]:
                # A condition would turn "no such checkpoint" into "access denied".
                assert "Condition" not in statement


FILES: dict[str, dict[str, set[str]]] = {
    "ControlRole": {"s3:GetObject": {"/runs/*/training.json"}, "s3:PutObject": {"/*/run.yaml"}},
    "DataArrivedRole": {"s3:GetObject": {"/*run.yaml"}},
    "EndpointsFunctionRole": {
        "s3:GetObject": {"/captured/*", "/champions/*", "/drift/*", "/runs/*/model.tar.gz", "/runs/*/run.json"},
        "s3:GetObjectVersion": {"/*run.yaml"},
        "s3:PutObject": {"/*run.yaml", "/champions/*", "/drift/*", "/runs/*/validation/shadow.json"},
    },
    "FinishRole": {"s3:PutObject": {"/runs/*"}},
    "JobsPrepareDataRole": {
        "s3:GetObject": {"/runs/*"},
        "s3:GetObjectVersion": {"/*data/*"},
        "s3:PutObject": {"/runs/*"},
    },
    "JobsTrainRole": {
        f"s3:{action}": {"/runs/*"} for action in ("DeleteObject", "GetObject", "PutObject", "PutObjectTagging")
    },
    # Who serves is played against; its files are those of its run.
    "JobsValidateRole": {"s3:GetObject": {"/champions/*", "/runs/*"}, "s3:PutObject": {"/runs/*"}},
    "ModelRole": {"s3:GetObject": {"/runs/*/model.tar.gz"}, "s3:PutObject": {"/captured/*"}},
    "PrepareRole": {
        "s3:GetObjectVersion": {"/*run.yaml"},
        "s3:PutObject": {"/*run.yaml.error.txt", "/runs/*"},
    },
    "SmokeTestRole": {"s3:GetObject": {"/runs/*/validation/golden.json"}},
    "StateMachineRole": {"s3:GetObject": {"/runs/*/validation/verdict.json"}},
    "SweeperFunctionRole": {"s3:GetObject": {"/champions/*", "/orphans.json"}, "s3:PutObject": {"/orphans.json"}},
}


@pytest.mark.parametrize("role", FILES)
def test_a_role_reaches_the_files_that_it_needs_and_no_others(stage: Stage, role: str) -> None:
    reached: dict[str, set[str]] = {}
    for statement in _statements_of(stage, role):
        for action in statement["Action"]:
            if action.startswith("s3:") and "Object" in action:
                keys = {resource["Fn::Join"][1][-1] for resource in statement["Resource"]}
                reached.setdefault(action, set()).update(keys)
    assert reached == FILES[role]


def test_schedules_may_call_the_endpoints_function_and_keep_what_it_did_not_get(stage: Stage) -> None:
    granted = {
        (action, resource["Fn::GetAtt"][0][:-8])
        for statement in _statements_of(stage, "SchedulesRole")
        for action in statement["Action"]
        for resource in statement["Resource"]
    }
    assert granted == {("lambda:InvokeFunction", "EndpointsFunction"), ("sqs:SendMessage", "EndpointsDeadLetters")}


def test_the_first_endpoint_may_make_the_roles_that_scaling_has_for_each_service(stage: Stage) -> None:
    made = [
        statement["Condition"]["StringEquals"]["iam:AWSServiceName"]
        for statement in _statements_of(stage, "EndpointsFunctionRole")
        if statement["Action"] == ["iam:CreateServiceLinkedRole"]
    ]
    services = ["sagemaker", "ecs"] if stage.settings.serving.ecs else ["sagemaker"]
    assert made == [f"{service}.application-autoscaling.amazonaws.com" for service in services]


def test_batch_may_pull_the_image_and_write_the_log_of_a_job(stage: Stage) -> None:
    pull = {"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}
    assert _granted(stage, "JobsExecutionRole") == OWN_LOG | pull | {"ecr:GetAuthorizationToken"}


def test_the_network_may_write_its_own_log(stages: dict[str, Stage]) -> None:
    [statement] = _statements_of(stages["prod"], "VpcFlowLog")
    assert set(statement["Action"]) == OWN_LOG | {"logs:DescribeLogStreams"}
    assert "FlowLogs" in str(statement["Resource"])


def test_the_api_may_ask_policies_and_call_its_function_for_each_route(stage: Stage) -> None:
    assert _granted(stage, "AskPoliciesRole") == {"sagemaker:InvokeEndpoint"}
    methods = [
        method
        for method in stage.resources("AWS::ApiGateway::Method").values()
        if method["Integration"]["Type"] == "AWS_PROXY"
    ]
    permissions = [
        permission["SourceArn"]["Fn::Join"][1][-1]
        for permission in stage.resources("AWS::Lambda::Permission").values()
        if permission["Principal"] == "apigateway.amazonaws.com"
    ]
    assert len(set(permissions)) == len(permissions)
    deployed = [source for source in permissions if "test-invoke-stage" not in source]
    assert sorted(source.split("/")[1] for source in deployed) == sorted(method["HttpMethod"] for method in methods)


def test_an_endpoint_may_pull_its_image_read_its_model_and_write_its_log(stage: Stage) -> None:
    pull = {"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}
    log = {"logs:CreateLogGroup", "logs:DescribeLogStreams"}
    captured = {"s3:PutObject"}  # requests, where a run asks for it
    needed = OWN_LOG | log | pull | captured | {"ecr:GetAuthorizationToken", "s3:GetObject"}
    assert _granted(stage, "ModelRole") == needed


def test_an_endpoint_reads_models_and_nothing_else_of_the_artifacts(stage: Stage) -> None:
    [reading] = [s for s in _statements_of(stage, "ModelRole") if "s3:GetObject" in s["Action"]]
    [writing] = [s for s in _statements_of(stage, "ModelRole") if "s3:PutObject" in s["Action"]]
    assert all("/captured/*" in str(resource) for resource in writing["Resource"])
    assert reading["Action"] == ["s3:GetObject"]
    assert all("/runs/*/model.tar.gz" in str(resource) for resource in reading["Resource"])


def test_no_action_is_a_wildcard(stage: Stage) -> None:
    actions = {a for policy in _policies(stage) for s in statements(policy) for a in s["Action"]}
    assert not {action for action in actions if "*" in action}


def test_only_actions_that_know_no_resources_are_allowed_on_all(stage: Stage) -> None:
    cfnlint = find_spec("cfnlint")  # whose import takes a second
    assert cfnlint is not None
    assert cfnlint.origin is not None
    known = json.loads((Path(cfnlint.origin).parent / "data/AdditionalSpecs/Policies.json").read_text())
    for policy in _policies(stage):
        for statement in statements(policy):
            if "*" in statement["Resource"]:
                for action in statement["Action"]:
                    if action == "cloudwatch:PutMetricData":  # which a namespace limits, and no resource that we have
                        assert statement["Condition"] == {"StringEquals": {"cloudwatch:namespace": NAMESPACE}}
                        continue
                    service, _, operation = action.partition(":")
                    assert known[service]["Actions"][operation.lower()].get("Resources", []) == [], action


def test_functions_publish_to_the_topic_only(stage: Stage) -> None:
    publishing = [s for policy in _policies(stage) for s in statements(policy) if "sns:Publish" in s["Action"]]
    assert len(publishing) == 4  # the end of a run, one that waits for approval, what is wrong, what is left over
    for statement in publishing:
        [resource] = statement["Resource"]
        own = resource.get("Ref", "").startswith("Topic")
        assert own or resource["Fn::GetStackOutput"]["StackName"].endswith("-alerts")


def _policies(stage: Stage) -> list[Properties]:
    return list(stage.resources("AWS::IAM::Policy").values())


def _statements_of(stage: Stage, role: str) -> list[dict[str, Any]]:
    """The statements of the role whose logical id starts like this, all of its policies together."""
    found = [
        statement
        for policy in _policies(stage)
        if any(reference["Ref"].startswith(role) for reference in policy["Roles"])
        for statement in statements(policy)
    ]
    assert found, f"no role {role}* has a policy"
    return found


def _granted(stage: Stage, role: str) -> set[str]:
    return {action for statement in _statements_of(stage, role) for action in statement["Action"]}


def _tasks(definition: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for state in definition["States"].values():
        if state["Type"] == "Task":
            yield state
        if "ItemProcessor" in state:
            yield from _tasks(state["ItemProcessor"])


def _actions(task: dict[str, Any]) -> set[str]:
    """The permissions that a state needs."""
    resource = task["Resource"].removeprefix("arn:aws:states:::")
    if resource.removesuffix(".waitForTaskToken") == "lambda:invoke":
        return {"lambda:InvokeFunction"}
    if resource == "batch:submitJob.sync":
        return {"batch:SubmitJob"} | NEEDED_BY_SYNC
    if resource == "sns:publish":
        return {"sns:Publish"}
    sdk, service, operation = resource.removesuffix(".waitForTaskToken").split(":")
    assert sdk == "aws-sdk", f"this test does not know what {resource} needs"
    passing = {"iam:PassRole"} if "ExecutionRoleArn" in task["Arguments"] else set()
    return {f"{service}:{operation[0].upper()}{operation[1:]}"} | passing


def _calls(module: Path) -> set[str]:
    """The permissions that a module's calls of its boto3 clients need."""
    tree = ast.parse(module.read_text())
    clients = {
        node.targets[0].id: node.value.args[0].value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) == "boto3.client"
        and isinstance(node.value.args[0], ast.Constant)
    }
    assert clients, f"{module} has no boto3 client"
    needed: set[str] = set()
    for variable, service in clients.items():
        assert isinstance(service, str)
        needed |= _calls_on(module, variable, service)
    return needed


def _calls_on(module: Path, client: str, service: str) -> set[str]:
    """The permissions that a module's calls on one client need, its paginators included."""
    needed: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if not isinstance(node, ast.Call):
            continue
        first = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
        if isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == client:
            operation = str(first) if node.func.attr == "get_paginator" and first else node.func.attr
            if operation != "get_paginator":
                needed |= _actions_of(service, operation, {keyword.arg for keyword in node.keywords})
        elif ast.unparse(node.func) == "_names" and service == "sagemaker":  # a helper that pages through a list
            needed |= _actions_of(service, str(first), set())
    return needed


def _actions_of(service: str, operation: str, arguments: set[str | None]) -> set[str]:
    if (service, operation) in ACTIONS:
        return ACTIONS[service, operation]
    suffix = "Version" if "VersionId" in arguments else ""
    service = {"elbv2": "elasticloadbalancing"}.get(service, service)
    return {f"{service}:{''.join(part.title() for part in operation.split('_'))}{suffix}"}


def test_a_task_may_read_its_policy_and_ecs_pull_its_image_and_write_its_log(stages: dict[str, Stage]) -> None:
    pull = {"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}
    assert _granted(stages["local"], "ServicesExecutionRole") == OWN_LOG | pull | {"ecr:GetAuthorizationToken"}
    [reading] = _statements_of(stages["local"], "ServicesTaskRole")
    assert reading["Action"] == ["s3:GetObject"]
    assert all("/runs/*/model.tar.gz" in str(resource) for resource in reading["Resource"])

"""Settings that no shipped stage uses."""

import json
from pathlib import Path

import pytest

from contract.cost import ServingPrices, monthly_usd
from tests.infra.conftest import Stage, statements
from tests.infra.variants import MLFLOW


def test_somebody_is_told_by_mail(switched: Stage) -> None:
    subscription = switched.one("AWS::SNS::Subscription")
    assert subscription["Protocol"] == "email"
    assert subscription["Endpoint"] == "somebody@example.org"


def test_nobody_is_told_by_mail_chat_or_budget_unless_named(stage: Stage) -> None:
    for kind in ("SNS::Subscription", "Budgets::Budget", *_CHANNELS):
        assert stage.resources(f"AWS::{kind}") == {}


_CHANNELS = ("Chatbot::SlackChannelConfiguration", "Chatbot::MicrosoftTeamsChannelConfiguration")


@pytest.mark.parametrize("kind", _CHANNELS)
def test_a_channel_is_told_what_the_topic_says_and_commands_nothing(switched: Stage, kind: str) -> None:
    channel = switched.one(f"AWS::{kind}")
    [topic] = switched.resources("AWS::SNS::Topic")
    assert channel["SnsTopicArns"] == [{"Ref": topic}]
    assert json.dumps(channel["GuardrailPolicies"]).count("AWSDenyAll") == len(channel["GuardrailPolicies"]) == 1
    role = channel["IamRoleArn"]["Fn::GetAtt"][0]
    assert "ManagedPolicyArns" not in switched.resources("AWS::IAM::Role")[role]
    assert not any({"Ref": role} in it["Roles"] for it in switched.resources("AWS::IAM::Policy").values())


def test_trainings_may_tell_the_managed_mlflow_server_and_no_other(switched: Stage, stages: dict[str, Stage]) -> None:
    trainings = [it for name, it in switched.resources("AWS::Batch::JobDefinition").items() if "Train" in name]
    assert len(trainings) == 2
    for training in trainings:
        variables = training["ContainerProperties"]["Environment"]
        assert {"Name": "MLFLOW_TRACKING_URI", "Value": MLFLOW} in variables
    [granted] = [
        statement
        for policy in switched.resources("AWS::IAM::Policy").values()
        for statement in statements(policy)
        if "sagemaker-mlflow:LogBatch" in statement["Action"]
    ]
    assert granted["Resource"] == [MLFLOW]
    assert "sagemaker-mlflow" not in json.dumps(stages["dev"].templates)


def test_the_bill_of_a_month_is_watched_by_the_tag_that_instances_and_endpoints_have(switched: Stage) -> None:
    budget = switched.one("AWS::Budgets::Budget")
    assert budget["Budget"]["BudgetLimit"] == {"Amount": 200, "Unit": "USD"}
    assert budget["Budget"]["CostFilters"] == {"TagKeyValue": ["user:stage$dev"]}
    told = {
        (it["Notification"]["NotificationType"], it["Notification"]["Threshold"], it["Subscribers"][0]["Address"])
        for it in budget["NotificationsWithSubscribers"]
    }
    assert told == {("ACTUAL", 80, "somebody@example.org"), ("FORECASTED", 100, "somebody@example.org")}
    template = switched.one("AWS::EC2::LaunchTemplate")["LaunchTemplateData"]
    for tagged in template["TagSpecifications"]:
        assert {"Key": "stage", "Value": "dev"} in tagged["Tags"], tagged["ResourceType"]


def test_an_account_and_region_need_no_look_up(switched: Stage) -> None:
    manifest = Path(switched.folder / "manifest.json").read_text()
    assert "aws://123456789012/eu-west-1" in manifest
    assert '"missing"' not in manifest


def test_instances_are_spread_over_the_zones_asked_for(switched: Stage) -> None:
    for environment in switched.resources("AWS::Batch::ComputeEnvironment").values():
        assert len(environment["ComputeResources"]["Subnets"]) == 3


def test_behind_endpoints_nothing_leads_to_the_internet(walled_in: Stage) -> None:
    for kind in ("InternetGateway", "NatGateway", "EIP"):
        assert walled_in.resources(f"AWS::EC2::{kind}") == {}
    assert not any(subnet.get("MapPublicIpOnLaunch") for subnet in walled_in.resources("AWS::EC2::Subnet").values())


def test_behind_endpoints_instances_reach_what_a_job_needs(walled_in: Stage) -> None:
    endpoints = walled_in.resources("AWS::EC2::VPCEndpoint").values()
    names = {str(endpoint["ServiceName"]) for endpoint in endpoints}
    for service in ("s3", "ecs", "ecs-agent", "ecs-telemetry", "ecr.api", "ecr.dkr", "logs"):
        assert [name for name in names if name.rstrip("'}]").endswith(f".{service}")], service
    for endpoint in endpoints:
        if endpoint["VpcEndpointType"] == "Interface":
            assert endpoint["PrivateDnsEnabled"] is True
            assert len(endpoint["SubnetIds"]) == 2


def test_endpoints_listen_to_the_network_itself_only(walled_in: Stage) -> None:
    for group in walled_in.resources("AWS::EC2::SecurityGroup").values():
        for rule in group.get("SecurityGroupIngress", []):
            assert (rule["FromPort"], rule["ToPort"]) == (443, 443)
            assert rule["CidrIp"] == "10.40.0.0/16"


def test_connections_are_logged_where_asked_for(walled_in: Stage, stages: dict[str, Stage]) -> None:
    for stage, expected in ((walled_in, 1), (stages["prod"], 1), (stages["dev"], 0), (stages["local"], 0)):
        assert len(stage.resources("AWS::EC2::FlowLog")) == expected
    assert stages["prod"].one("AWS::EC2::FlowLog")["TrafficType"] == "ALL"


def test_codebuild_builds_each_image_once_for_each_change(walled_in: Stage) -> None:
    projects = walled_in.resources("AWS::CodeBuild::Project").values()
    assert len(projects) == 2
    for project in projects:
        assert project["TimeoutInMinutes"] == 60
        variables = {item["Name"]: item["Value"] for item in project["Environment"]["EnvironmentVariables"]}
        assert len(variables["TAG"]) == 64  # the hash of the context
        commands = json.loads(project["Source"]["BuildSpec"])["phases"]["build"]["commands"]
        assert "--platform linux/amd64" in commands[0]
    assert all(it["ImageTagMutability"] == "IMMUTABLE" for it in walled_in.resources("AWS::ECR::Repository").values())


def test_a_deployment_starts_the_build_of_its_own_images(walled_in: Stage) -> None:
    rules = [
        it
        for it in walled_in.resources("AWS::Events::Rule").values()
        if it.get("EventPattern", {}).get("source") == ["aws.cloudformation"]
    ]
    assert len(rules) == 2
    for rule in rules:
        assert rule["EventPattern"]["detail"]["stack-id"] == [{"Ref": "AWS::StackId"}]
        [target] = rule["Targets"]
        assert "Project" in target["Arn"]["Fn::GetAtt"][0]


@pytest.mark.parametrize(("room", "image"), [("pipeline", "JobsImage"), ("serving", "Image")])
def test_a_build_may_read_its_context_push_its_image_and_write_its_log(walled_in: Stage, room: str, image: str) -> None:
    def granted(role: str) -> list[tuple[set[str], str]]:
        return [
            (set(statement["Action"]), json.dumps(statement["Resource"]))
            for policy in walled_in.resources("AWS::IAM::Policy", room).values()
            if any(reference["Ref"].startswith(f"{image}Project{role}") for reference in policy["Roles"])
            for statement in statements(policy)
        ]

    log = {"logs:CreateLogStream", "logs:PutLogEvents"}
    pull = {"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:DescribeImages"}
    push = {"ecr:CompleteLayerUpload", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart"}
    for (actions, resource), (expected, of) in zip(
        granted("Role"),
        [
            ({"s3:GetBucket*", "s3:GetObject*", "s3:List*"}, "-assets-"),
            (log, f"{image}Log"),
            (log | {"logs:CreateLogGroup"}, "/aws/codebuild/"),
            (pull | push, f"{image}Repository"),
            ({"ecr:GetAuthorizationToken"}, "*"),
        ],
        strict=True,
    ):
        assert actions == expected
        assert of in resource
    [(actions, resource)] = granted("EventsRole")
    assert actions == {"codebuild:StartBuild"}
    assert f"{image}Project" in resource


def test_the_logs_of_what_a_switch_brings_end_one_day(switched: Stage, walled_in: Stage) -> None:
    for stage in (switched, walled_in):
        groups = stage.resources("AWS::Logs::LogGroup").values()
        assert {group["RetentionInDays"] for group in groups} == {stage.settings.log_retention_days}


def test_jobs_and_endpoints_take_the_image_that_codebuild_makes(walled_in: Stage) -> None:
    for definition in walled_in.resources("AWS::Batch::JobDefinition").values():
        assert "JobsImageRepository" in json.dumps(definition["ContainerProperties"]["Image"])
    assert not any(json.loads(file.read_text())["dockerImages"] for file in walled_in.folder.glob("*.assets.json"))


def test_an_image_that_is_there_is_not_built(brought: Stage) -> None:
    assert not any(json.loads(file.read_text())["dockerImages"] for file in brought.folder.glob("*.assets.json"))
    for definition in brought.resources("AWS::Batch::JobDefinition").values():
        assert "rl/training:cuda12.6" in json.dumps(definition["ContainerProperties"]["Image"])
    substitutions = brought.one("AWS::StepFunctions::StateMachine")["DefinitionSubstitutions"]
    assert f"@sha256:{'0' * 64}" in json.dumps(substitutions["ServingImageUri"])


def test_an_image_that_is_there_may_be_pulled_and_no_other(brought: Stage) -> None:
    pulled = {
        json.dumps(statement["Resource"])
        for policy in brought.resources("AWS::IAM::Policy").values()
        for statement in statements(policy)
        if "ecr:BatchGetImage" in statement["Action"]
    }
    assert len(pulled) == 2
    assert {name for name in ("rl/training", "rl/serving") for it in pulled if f"repository/{name}" in it} == {
        "rl/training",
        "rl/serving",
    }


def test_v100s_are_an_environment_of_their_own_with_its_own_machine_image(brought: Stage) -> None:
    found = brought.resources("AWS::Batch::ComputeEnvironment")
    gpu = [it["ComputeResources"] for name, it in found.items() if name.startswith("Gpu")]
    assert len(gpu) == 2
    for environment in gpu:
        assert environment["InstanceTypes"] == ["p3.2xlarge"]
        [configuration] = environment["Ec2Configuration"]
        assert configuration == {"ImageType": "ECS_AL2_NVIDIA", "ImageIdOverride": "ami-0123456789abcdef0"}


def test_one_nat_gateway_where_one_is_enough(brought: Stage) -> None:
    assert len(brought.resources("AWS::EC2::NatGateway")) == 1


def test_services_are_asked_from_the_network_and_tasks_by_the_load_balancer_alone(switched: Stage) -> None:
    balancer = switched.one("AWS::ElasticLoadBalancingV2::LoadBalancer")
    assert balancer["Scheme"] == "internal"
    assert len(balancer["Subnets"]) == 3
    groups = switched.resources("AWS::EC2::SecurityGroup")
    [of_balancer] = [it for name, it in groups.items() if name.startswith("ServicesBalancerGroup")]
    [callers] = of_balancer["SecurityGroupIngress"]
    assert (callers["FromPort"], callers["ToPort"]) == (80, 80)
    assert callers["CidrIp"] == "10.40.0.0/16"
    [of_tasks] = [it for name, it in groups.items() if name.startswith("ServicesTaskGroup")]
    assert "SecurityGroupIngress" not in of_tasks
    [to_tasks] = switched.resources("AWS::EC2::SecurityGroupIngress").values()
    assert (to_tasks["FromPort"], to_tasks["ToPort"]) == (8080, 8080)
    assert "ServicesBalancerGroup" in str(to_tasks["SourceSecurityGroupId"])


def test_a_stage_without_services_pays_for_no_load_balancer(stages: dict[str, Stage]) -> None:
    for name in ("dev", "prod"):
        for kind in ("ElasticLoadBalancingV2::LoadBalancer", "ECS::Cluster"):
            assert stages[name].resources(f"AWS::{kind}") == {}
        endpoints = stages[name].one("AWS::Lambda::Function", "Endpoints")
        assert endpoints["Environment"]["Variables"]["SERVICES"] == ""


def test_what_an_endpoint_costs_counts_tasks_and_the_load_balancer(switched: Stage, stages: dict[str, Stage]) -> None:
    def costs(stage: Stage) -> dict[str, float]:
        variables = stage.one("AWS::Lambda::Function", "Prepare")["Environment"]["Variables"]
        return monthly_usd(ServingPrices.model_validate_json(variables["SERVING_PRICES"]))

    task = 0.25 * 0.04048 + 0.5 * 0.004445
    assert costs(switched)["ecs"] == pytest.approx((2 * task + 0.0225) * 730, abs=0.01)
    assert "ecs" not in costs(stages["dev"])


def test_services_go_with_the_stage_that_empties_itself(switched: Stage) -> None:
    [teardown] = [it for it in switched.resources("Custom::Teardown").values() if "ModelRole" in it]
    assert {"Cluster", "Listener"} <= set(teardown)
    allowed = {
        action
        for policy in switched.resources("AWS::IAM::Policy").values()
        if "ModelsTeardown" in str(policy["Roles"])
        for statement in statements(policy)
        for action in statement["Action"]
    }
    assert {
        "ecs:ListServices",
        "ecs:DeleteService",
        "elasticloadbalancing:DescribeRules",
        "elasticloadbalancing:DeleteRule",
        "elasticloadbalancing:DeleteTargetGroup",
    } <= allowed

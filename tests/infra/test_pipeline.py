import json
import re

from tests.infra.conftest import ROOT, Stage

DEFINITION = ROOT / "statemachine" / "pipeline.asl.json"


def test_the_deployed_definition_is_the_file(stage: Stage) -> None:
    machine = stage.one("AWS::StepFunctions::StateMachine")
    assert machine["DefinitionString"] == DEFINITION.read_text()
    assert machine["StateMachineType"] == "STANDARD"


def test_every_token_of_the_definition_is_supplied_and_none_for_nothing(stage: Stage) -> None:
    supplied = stage.one("AWS::StepFunctions::StateMachine")["DefinitionSubstitutions"]
    assert set(supplied) == set(re.findall(r"\$\{(\w+)\}", DEFINITION.read_text()))


def test_tokens_stand_for_what_they_are_called(stage: Stage) -> None:
    supplied = stage.one("AWS::StepFunctions::StateMachine")["DefinitionSubstitutions"]
    for kind in ("TrainCpu", "TrainGpu", "Validate"):
        assert supplied[f"{kind}JobDefinitionArn"]["Ref"].startswith(f"Jobs{kind}")
    for name in ("Prepare", "SmokeTest", "Endpoints", "Finish"):
        assert supplied[f"{name}FunctionArn"]["Fn::GetAtt"][0].startswith(name)
    for queue in ("CpuQueue", "CpuSpotQueue", "GpuQueue", "GpuSpotQueue"):
        output = stage.templates["compute"]["Outputs"][supplied[f"{queue}Arn"]["Fn::GetStackOutput"]["OutputName"]]
        assert output["Value"]["Fn::GetAtt"][0][:-8] == queue
    assert supplied["ServingInstanceType"] == stage.settings.serving.instance_type
    assert supplied["ModelPackageGroupName"] == stage.one("AWS::SageMaker::ModelPackageGroup")["ModelPackageGroupName"]


def test_an_execution_has_an_end_and_outlives_each_of_its_jobs(stage: Stage) -> None:
    longest = json.loads(DEFINITION.read_text())["TimeoutSeconds"] / 3600
    jobs = stage.settings.jobs
    assert longest > max(jobs.train_cpu.timeout_hours, jobs.train_gpu.timeout_hours) + jobs.validation.timeout_hours


def test_every_step_of_an_execution_is_logged(stage: Stage) -> None:
    logging = stage.one("AWS::StepFunctions::StateMachine")["LoggingConfiguration"]
    assert logging["Level"] == "ALL"
    assert logging["IncludeExecutionData"] is True


def test_functions_run_on_the_runtime_their_dependencies_are_packed_for(stage: Stage) -> None:
    for function in stage.resources("AWS::Lambda::Function").values():
        assert function["Runtime"] == "python3.14"
        assert function["Architectures"] == ["arm64"]
        assert function["LoggingConfig"]["LogFormat"] == "JSON"
        longest = {"lambdas.teardown.handler.handler": 14 * 60, "lambdas.sweeper.handler.handler": 5 * 60}
        assert function["Timeout"] <= longest.get(function["Handler"], 60)


def test_policies_are_recorded_in_a_group_of_the_stage(stage: Stage) -> None:
    group = stage.one("AWS::SageMaker::ModelPackageGroup")
    assert group["ModelPackageGroupName"] == f"rlpipe-{stage.settings.stage}"

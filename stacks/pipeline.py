"""What happens to a dropped run file: the state machine, its functions and the jobs that it submits.

They are one stack because they change together: an execution keeps the definition it began with, and that
definition names exact revisions of its jobs, so a deployment never changes the code under a run.
"""

import json
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_batch as batch
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from config.settings import Settings
from contract.layout import ERROR_SUFFIX, GOLDEN, RUN_FILE, VERDICT
from contract.metrics import STAGE_VARIABLE
from stacks.constructs.alarms import Alarms
from stacks.constructs.assets import ROOT
from stacks.constructs.base import ADDRESSES, RoomStack, allow, dead_letters, log_group
from stacks.constructs.endpoints import Endpoints, serving_prices
from stacks.constructs.function import Function, Inside
from stacks.constructs.jobs import Jobs
from stacks.constructs.kubernetes import with_pod_overrides
from stacks.constructs.pool import Pool
from stacks.constructs.services import Services

DEFINITION = ROOT / "statemachine" / "pipeline.asl.json"


class PipelineStack(RoomStack):
    """The state machine and all that only it uses."""

    def __init__(
        self,
        scope: Construct,
        *,
        settings: Settings,
        function_code: Path,
        input_bucket: s3.IBucket,
        artifacts_bucket: s3.IBucket,
        cpu: Pool,
        gpu: Pool,
        model_role: iam.IRole,
        model_package_group_name: str,
        serving_image_uri: str,
        services: Services | None,
        topic: sns.ITopic,
        alert_function: lambda_.IFunction,
        run_table: dynamodb.ITable,
    ) -> None:
        super().__init__(scope, "pipeline", settings=settings, description="From a run file to an answering policy.")
        self._settings, self._code = settings, function_code
        self._input, self._artifacts, self._runs = input_bucket, artifacts_bucket, run_table
        jobs = Jobs(self, "Jobs", settings=settings, artifacts_bucket=artifacts_bucket, input_bucket=input_bucket)
        self.ask_function = self._ask(services) if services else None
        prepare, smoke_test = self._prepare(), self._smoke_test()
        alarms = Alarms(self, settings=settings, action=alert_function)
        finish = self._finish(jobs, topic, alarms)
        endpoints = Endpoints(
            self,
            "Endpoints",
            settings=settings,
            function_code=function_code,
            input_bucket=input_bucket,
            artifacts_bucket=artifacts_bucket,
            run_table=run_table,
            model_role=model_role,
            services=services,
            alarms=alarms,
            alert_function=alert_function,
        )
        state_machine = sfn.StateMachine(
            self,
            "StateMachine",
            state_machine_type=sfn.StateMachineType.STANDARD,
            # As text in the template, not as a file in S3: so cfn-lint checks it and a diff shows it.
            definition_body=sfn.DefinitionBody.from_string(self._definition()),
            definition_substitutions={
                "PrepareFunctionArn": prepare.function_arn,
                "SmokeTestFunctionArn": smoke_test.function_arn,
                "EndpointsFunctionArn": endpoints.function.function_arn,
                "FinishFunctionArn": finish.function_arn,
                "ArtifactsBucket": artifacts_bucket.bucket_name,
                "RunTable": run_table.table_name,
                "TopicArn": topic.topic_arn,
                "CpuQueueArn": cpu.queue.job_queue_arn,
                "CpuSpotQueueArn": cpu.spot_queue.job_queue_arn,
                "GpuQueueArn": gpu.queue.job_queue_arn,
                "GpuSpotQueueArn": gpu.spot_queue.job_queue_arn,
                "TrainCpuJobDefinitionArn": jobs.train_cpu.job_definition_arn,
                "TrainGpuJobDefinitionArn": jobs.train_gpu.job_definition_arn,
                "PrepareDataJobDefinitionArn": jobs.prepare_data.job_definition_arn,
                "ValidateJobDefinitionArn": jobs.validate.job_definition_arn,
                "ModelPackageGroupName": model_package_group_name,
                "ServingImageUri": serving_image_uri,
                "ServingInstanceType": settings.serving.instance_type,
            },
            tracing_enabled=True,
            logs=sfn.LogOptions(
                destination=log_group(self, "StateMachineLog", settings=settings),
                level=sfn.LogLevel.ALL,
                include_execution_data=True,
            ),
        )
        for function in (prepare, smoke_test, finish, endpoints.function):
            function.grant_invoke(state_machine)
        self._let_answer(finish, state_machine)
        endpoints.undo_aborted(state_machine)
        self._grant_jobs(state_machine, jobs, [cpu, gpu])
        allow(state_machine, ["s3:GetObject"], artifacts_bucket.arn_for_objects(f"runs/*/{VERDICT}"))
        allow(state_machine, ["dynamodb:GetItem", "dynamodb:UpdateItem"], run_table.table_arn)
        allow(state_machine, ["sns:Publish"], topic.topic_arn)
        allow(
            state_machine,
            ["sagemaker:CreateModelPackage", "sagemaker:UpdateModelPackage"],
            self._sagemaker_arn("model-package-group", model_package_group_name),
            self._sagemaker_arn("model-package", f"{model_package_group_name}/*"),
        )
        self.state_machine: sfn.IStateMachine = state_machine
        self.state_machine_name = state_machine.state_machine_name
        self.finish_function: lambda_.IFunction = finish
        self.endpoints_function = endpoints.function
        self.job_log_group: logs.ILogGroup = jobs.log_group
        cdk.CfnOutput(self, "StateMachineArn", value=state_machine.state_machine_arn)

    def _definition(self) -> str:
        text = DEFINITION.read_text(encoding="utf-8")
        if self._settings.compute.kubernetes is None:
            return text
        return json.dumps(with_pod_overrides(json.loads(text)))

    def _prepare(self) -> Function:
        function = Function(
            self,
            "Prepare",
            name="prepare",
            code=self._code,
            settings=self._settings,
            environment={
                "ARTIFACTS_BUCKET": self._artifacts.bucket_name,
                "RUN_TABLE": self._runs.table_name,
                "CPU_PRICE_PER_HOUR": f"{self._settings.jobs.train_cpu.price_per_hour:g}",
                "SERVING_PRICES": serving_prices(self._settings),
                "GPU_PRICE_PER_HOUR": f"{self._settings.jobs.train_gpu.price_per_hour:g}",
            },
            timeout=60,
        )
        allow(function, ["s3:GetObjectVersion"], self._input.arn_for_objects(f"*{RUN_FILE}"))
        allow(function, ["s3:ListBucketVersions"], self._input.bucket_arn)
        allow(function, ["s3:PutObject"], self._input.arn_for_objects(f"*{RUN_FILE}{ERROR_SUFFIX}"))
        allow(function, ["s3:PutObject"], self._artifacts.arn_for_objects("runs/*"))
        allow(function, ["dynamodb:UpdateItem"], self._runs.table_arn)
        return function

    def _smoke_test(self) -> Function:
        function = Function(
            self,
            "SmokeTest",
            name="smoke_test",
            code=self._code,
            settings=self._settings,
            environment={
                "ARTIFACTS_BUCKET": self._artifacts.bucket_name,
                "ASK_FUNCTION": self.ask_function.function_name if self.ask_function else "",
            },
            timeout=60,
        )
        allow(function, ["s3:GetObject"], self._artifacts.arn_for_objects(f"runs/*/{GOLDEN}"))
        allow(function, ["sagemaker:InvokeEndpoint"], self._sagemaker_arn("endpoint", "*"))
        if self.ask_function:
            allow(function, ["lambda:InvokeFunction"], self.ask_function.function_arn)
        return function

    def _ask(self, services: Services) -> lambda_.IFunction:
        """The one function in the network, where the load balancer of the services on ECS answers."""
        group = ec2.SecurityGroup(
            self, "AskGroup", vpc=services.vpc, description="Asks the load balancer.", allow_all_outbound=False
        )
        group.add_egress_rule(ec2.Peer.ipv4(ADDRESSES), ec2.Port.tcp(80), "The load balancer")
        return Function(
            self,
            "Ask",
            name="ask",
            code=self._code,
            settings=self._settings,
            environment={"LOAD_BALANCER_URL": services.url},
            timeout=20,
            inside=Inside(vpc=services.vpc, subnets=services.subnets, group=group),
        )

    def _finish(self, jobs: Jobs, topic: sns.ITopic, alarms: Alarms) -> Function:
        letters = dead_letters(self, "FinishDeadLetters")
        alarms.of_dead_letters("Finish", letters)
        function = Function(
            self,
            "Finish",
            name="finish",
            code=self._code,
            settings=self._settings,
            environment={
                "ARTIFACTS_BUCKET": self._artifacts.bucket_name,
                "TOPIC_ARN": topic.topic_arn,
                "RUN_TABLE": self._runs.table_name,
                STAGE_VARIABLE: self._settings.stage,
            },
            timeout=60,
            dead_letters=letters,
        )
        allow(function, ["s3:PutObject"], self._artifacts.arn_for_objects("runs/*"))
        allow(function, ["sns:Publish"], topic.topic_arn)
        allow(function, ["dynamodb:GetItem", "dynamodb:UpdateItem"], self._runs.table_arn)
        allow(function, ["logs:GetLogEvents"], jobs.log_group.log_group_arn)
        allow(function, ["batch:DescribeJobs"], "*")  # knows no resources
        return function

    def _let_answer(self, finish: Function, state_machine: sfn.StateMachine) -> None:
        """The last step waits for this function's answer. A policy of its own: the role's would be a circle."""
        assert finish.role is not None
        iam.Policy(
            self,
            "AnswerStateMachine",
            roles=[finish.role],
            statements=[
                iam.PolicyStatement(
                    actions=["states:SendTaskFailure", "states:SendTaskSuccess"],
                    resources=[state_machine.state_machine_arn],
                )
            ],
        )

    def _grant_jobs(self, state_machine: sfn.StateMachine, jobs: Jobs, pools: list[Pool]) -> None:
        definitions = [jobs.train_cpu, jobs.train_gpu, jobs.validate, jobs.prepare_data]
        queues = [queue for pool in pools for queue in (pool.queue, pool.spot_queue)]
        allow(
            state_machine,
            ["batch:SubmitJob"],
            *(self._every_revision(definition) for definition in definitions),
            *(queue.job_queue_arn for queue in queues),
        )
        allow(state_machine, ["batch:DescribeJobs"], "*")  # knows no resources
        # With it an aborted execution terminates its job, and the instance with it.
        allow(
            state_machine, ["batch:TerminateJob"], self.format_arn(service="batch", resource="job", resource_name="*")
        )
        # How Step Functions hears of the end of a job that it waits for; the name is its own.
        # https://docs.aws.amazon.com/step-functions/latest/dg/connect-batch.html
        rule = self.format_arn(
            service="events", resource="rule", resource_name="StepFunctionsGetEventsForBatchJobsRule"
        )
        allow(state_machine, ["events:PutTargets", "events:PutRule", "events:DescribeRule"], rule)

    def _every_revision(self, definition: batch.IJobDefinition) -> str:
        """An execution that began before a deployment submits the revision that it began with."""
        name_and_revision = cdk.Fn.select(1, cdk.Fn.split("/", definition.job_definition_arn))
        name = cdk.Fn.select(0, cdk.Fn.split(":", name_and_revision))
        return self.format_arn(service="batch", resource="job-definition", resource_name=f"{name}:*")

    def _sagemaker_arn(self, resource: str, name: str) -> str:
        return self.format_arn(service="sagemaker", resource=resource, resource_name=name)

"""What looks for leftovers of runs, and ends them where the settings say so."""

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_batch as batch
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from config.settings import Settings
from contract.layout import ORPHANS_FILE
from contract.record import NEWEST_FIRST
from stacks.constructs.base import allow, delivered_to
from stacks.constructs.function import Function
from stacks.constructs.services import Services


class Sweeper(Construct):
    """A function on a schedule. Where it only reports it may change nothing but its report."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        function_code: Path,
        artifacts_bucket: s3.IBucket,
        run_table: dynamodb.ITable,
        job_queues: list[batch.IJobQueue],
        state_machine: sfn.IStateMachine,
        state_machine_name: str,
        finish_function: lambda_.IFunction,
        model_role: iam.IRole,
        topic: sns.ITopic,
        dead_letters: sqs.IQueue,
        services: Services | None,
    ) -> None:
        super().__init__(scope, construct_id)
        ends = settings.sweeper.mode == "end"
        function = Function(
            self,
            "Function",
            name="sweeper",
            code=function_code,
            settings=settings,
            environment={
                "MODE": settings.sweeper.mode,
                "STAGE": settings.stage,
                "ARTIFACTS_BUCKET": artifacts_bucket.bucket_name,
                "RUN_TABLE": run_table.table_name,
                "JOB_QUEUES": ",".join(queue.job_queue_arn for queue in job_queues),
                "STATE_MACHINE_ARN": state_machine.state_machine_arn,
                "FINISH_FUNCTION_ARN": finish_function.function_arn,
                "MODEL_ROLE_ARN": model_role.role_arn,
                "TOPIC_ARN": topic.topic_arn,
                "SERVICES_CLUSTER": services.cluster_name if services else "",
            },
            timeout=300,
            dead_letters=dead_letters,
        )
        stack = cdk.Stack.of(self)
        executions = stack.format_arn(
            service="states",
            resource="execution",
            resource_name=f"{state_machine_name}:*",
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )

        def sagemaker(resource: str) -> str:
            return stack.format_arn(service="sagemaker", resource=resource, resource_name="*")

        looking: tuple[tuple[list[str], str], ...] = (
            (["batch:ListJobs", "batch:DescribeJobs", "sagemaker:ListEndpoints"], "*"),  # they know no resources
            (["states:DescribeExecution"], executions),
            (["dynamodb:Query"], f"{run_table.table_arn}/index/{NEWEST_FIRST}"),
            (["sagemaker:DescribeEndpoint"], sagemaker("endpoint")),
            (["sagemaker:DescribeModel"], sagemaker("model")),
            (["s3:GetObject"], artifacts_bucket.arn_for_objects("champions/*")),
            (["s3:GetObject", "s3:PutObject"], artifacts_bucket.arn_for_objects(ORPHANS_FILE)),
            # Who may not list is told "denied" of a file that does not exist.
            (["s3:ListBucket"], artifacts_bucket.bucket_arn),
            (["sns:Publish"], topic.topic_arn),
        )
        ending: tuple[tuple[list[str], str], ...] = (
            (["batch:TerminateJob"], stack.format_arn(service="batch", resource="job", resource_name="*")),
            (["states:StopExecution"], executions),
            (["lambda:InvokeFunction"], finish_function.function_arn),
            (["sagemaker:DeleteEndpoint"], sagemaker("endpoint")),
        )
        if services:
            looking += (
                (["ecs:ListServices"], "*"),  # knows no resources
                (["ecs:DescribeServices"], services.services_arn),
            )
            ending += ((["ecs:DeleteService"], services.services_arn),)
        for actions, resource in (*looking, *(ending if ends else ())):
            allow(function, actions, resource)
        events.Rule(
            self,
            "Now and then",
            description="Time to look for what is left over of runs.",
            schedule=events.Schedule.rate(cdk.Duration.minutes(settings.sweeper.every_minutes)),
            targets=[delivered_to(function, or_kept_in=dead_letters)],
        )

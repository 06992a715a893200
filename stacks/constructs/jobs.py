"""What runs in the training image: the Batch job definitions."""

import aws_cdk as cdk
from aws_cdk import aws_batch as batch
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

from config.settings import JobSettings, Settings, gpus_of
from contract.layout import DATA_FOLDER
from contract.metrics import SECONDS_VARIABLE, STAGE_VARIABLE
from contract.outcomes import ExitCode
from stacks.constructs.base import allow, log_group
from stacks.constructs.image import image
from stacks.constructs.kubernetes import pod_definition, pod_role, service_account

SCRATCH = "/scratch"
"""Of the training image, owned by its user."""


class Jobs(Construct):
    """One job definition for training on a CPU, one for training on a GPU, one for validation and one for data."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        artifacts_bucket: s3.IBucket,
        input_bucket: s3.IBucket,
    ) -> None:
        super().__init__(scope, construct_id)
        self._metrics = {STAGE_VARIABLE: settings.stage, SECONDS_VARIABLE: str(settings.metrics.every_seconds)}
        if settings.metrics.mlflow_tracking_uri:
            self._metrics["MLFLOW_TRACKING_URI"] = settings.metrics.mlflow_tracking_uri
        self._kubernetes = settings.compute.kubernetes
        self._image = image(self, "Image", name="training", settings=settings)
        self.log_group: logs.ILogGroup = log_group(self, "Log", settings=settings)
        self._execution_role = iam.Role(
            self,
            "ExecutionRole",
            description="What Batch itself may do for a job: pull its image and write its log.",
            assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com"),
        )
        train_role = self._role("TrainRole", artifacts_bucket)
        # Checkpoints: they are tagged, so that they expire, and those beyond `checkpoint.keep` are deleted.
        allow(train_role, ["s3:DeleteObject", "s3:PutObjectTagging"], artifacts_bucket.arn_for_objects("runs/*"))
        uri = settings.metrics.mlflow_tracking_uri or ""
        if uri.startswith("arn:"):
            told = ("CreateExperiment", "GetExperimentByName", "SearchRuns", "CreateRun", "UpdateRun", "LogBatch")
            allow(train_role, [f"sagemaker-mlflow:{name}" for name in told], uri)
        train = ["training_image/train_rl.py", "--run", "Ref::run", "--seed", "Ref::seed"]
        validate = ["training_image/validate_rl.py", "--run", "Ref::run"]
        self.train_cpu = self._definition("TrainCpu", settings.jobs.train_cpu, train, train_role)
        self.train_gpu = self._definition("TrainGpu", settings.jobs.train_gpu, train, train_role)
        validate_role = self._role("ValidateRole", artifacts_bucket)
        # Who serves at the run's endpoint plays against the new policy; its files are those of its run.
        allow(validate_role, ["s3:GetObject"], artifacts_bucket.arn_for_objects("champions/*"))
        self.validate = self._definition("Validate", settings.jobs.validation, validate, validate_role)
        prepare = ["training_image/prepare_data.py", "--run", "Ref::run"]
        prepare_role = self._role("PrepareDataRole", artifacts_bucket)
        allow(prepare_role, ["s3:GetObjectVersion"], input_bucket.arn_for_objects(f"*{DATA_FOLDER}/*"))
        self.prepare_data = self._definition(
            "PrepareData", settings.jobs.preparation, prepare, prepare_role, scratch=True
        )

    def _role(self, construct_id: str, artifacts_bucket: s3.IBucket) -> iam.Role:
        if self._kubernetes:
            account = service_account(construct_id)
            role = pod_role(self, construct_id, settings=self._kubernetes, service_account=account)
        else:
            role = iam.Role(self, construct_id, assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com"))
        allow(role, ["s3:GetObject", "s3:PutObject"], artifacts_bucket.arn_for_objects("runs/*"))
        # Without a condition on the prefix: no condition holds for GetObject, and who may not list is told "denied"
        # of an object that does not exist, where the trainer must learn that there is no checkpoint yet.
        # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
        allow(role, ["s3:ListBucket"], artifacts_bucket.bucket_arn)
        return role

    def _linux_parameters(self, construct_id: str) -> batch.LinuxParameters:
        # An init process hands SIGTERM on to the trainer, which then checkpoints.
        parameters = batch.LinuxParameters(self, f"{construct_id}Linux", init_process_enabled=True)
        options = [batch.TmpfsMountOption.NOSUID, batch.TmpfsMountOption.NODEV, batch.TmpfsMountOption.NOEXEC]
        parameters.add_tmpfs(
            batch.Tmpfs(container_path="/tmp", size=cdk.Size.mebibytes(256), mount_options=options)  # noqa: S108
        )
        return parameters

    def _definition(
        self, construct_id: str, job: JobSettings, command: list[str], role: iam.IRole, *, scratch: bool = False
    ) -> batch.IJobDefinition:
        """`scratch` gives the container room on the instance's volume, for files that are larger than memory."""
        environment = {"RLPIPE_PRICE_PER_HOUR": f"{job.price_per_hour:g}", **self._metrics}
        if scratch:
            environment |= {"TMPDIR": SCRATCH, "RLPIPE_MEMORY_MIB": str(job.memory_mib)}
        if self._kubernetes:
            return pod_definition(
                self,
                construct_id,
                job=job,
                image_uri=self._image.uri,
                command=command,
                environment=environment,
                service_account=service_account(role.node.id),
                retry_strategies=_retries(),
                scratch=SCRATCH if scratch else None,
            )
        return batch.EcsJobDefinition(
            self,
            construct_id,
            container=batch.EcsEc2ContainerDefinition(
                self,
                f"{construct_id}Container",
                image=self._image.container,
                command=command,
                cpu=job.vcpus,
                memory=cdk.Size.mebibytes(job.memory_mib),
                gpu=gpus_of(job) or None,
                environment=environment,
                job_role=role,
                execution_role=self._execution_role,
                logging=ecs.LogDriver.aws_logs(stream_prefix=construct_id.lower(), log_group=self.log_group),
                readonly_root_filesystem=True,
                linux_parameters=self._linux_parameters(construct_id),
                # Without a path on the host it is the container's own, and gone with it.
                volumes=[batch.EcsVolume.host(name="scratch", container_path=SCRATCH)] if scratch else None,
            ),
            timeout=cdk.Duration.seconds(round(job.timeout_hours * 3600)),
            retry_attempts=job.attempts,
            retry_strategies=_retries(),
            propagate_tags=True,
            # A deployment must not pull a definition away from under an execution that is about to submit it.
            skip_deregister_on_update=True,
        )


def _retries() -> list[batch.RetryStrategy]:
    return [
        batch.RetryStrategy.of(batch.Action.RETRY, batch.Reason.SPOT_INSTANCE_RECLAIMED),
        batch.RetryStrategy.of(batch.Action.RETRY, batch.Reason.CANNOT_PULL_CONTAINER),
        batch.RetryStrategy.of(batch.Action.RETRY, batch.Reason.custom(on_exit_code=str(ExitCode.CHECKPOINTED.value))),
        # What failed for any other reason would fail again, at the same price.
        batch.RetryStrategy.of(batch.Action.EXIT, batch.Reason.custom(on_reason="*")),
    ]

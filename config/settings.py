"""What a stage is deployed with: one YAML file a stage beside this module, checked against this model."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from config.instances import (
    CPU_INSTANCES,
    GPU_INSTANCES,
    MAX_VCPUS,
    VOLTA_INSTANCES,
    Instance,
    check_instance_type,
)

FOLDER = Path(__file__).parent
DEFAULT_STAGE = "local"

RetentionDays = Literal[1, 3, 7, 14, 30, 60, 90, 180, 365, 731, 1827, 3653]
"""Periods that CloudWatch Logs knows. For ever is not among them: what nobody reads is still paid for."""

CpuInstanceType = Annotated[str, AfterValidator(partial(check_instance_type, known=CPU_INSTANCES))]
MaxVcpus = Annotated[int, Field(ge=1, le=MAX_VCPUS)]
Uuid = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")]
ImageUri = Annotated[
    str,
    Field(
        pattern=r"^\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com/[a-z0-9][a-z0-9._/-]*(:[\w.-]+|@sha256:[0-9a-f]{64})$"
    ),
]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class NetworkSettings(_Section):
    """Where the instances of training jobs live. Nothing ever accepts a connection from outside."""

    availability_zones: int = Field(default=2, ge=2, le=3, description="Zones the instances are spread over.")
    egress: Literal["public", "nat", "endpoints"] = Field(
        default="public",
        description="How instances reach AWS: `public` gives each a public address and costs nothing idle; "
        "`nat` keeps them in private subnets behind NAT gateways, which cost about $33 a month each; `endpoints` keeps "
        "them in subnets without any way out but to the AWS services they need, for about $44 a month a zone.",
    )
    nat_gateways: int = Field(
        default=1, ge=1, le=3, description="NAT gateways where egress is `nat`; one a zone survives the loss of a zone."
    )
    flow_logs: bool = Field(
        default=False, description="Log every connection of the instances; about $0.50 for each GB of log."
    )


class CpuPoolSettings(_Section):
    """The instances of jobs without a GPU."""

    instance_types: list[CpuInstanceType] = Field(min_length=1, description="EC2 instance types Batch chooses from.")
    max_vcpus: MaxVcpus = Field(description="Most vCPUs at a time, for Spot and for On-Demand each.")


class GpuPoolSettings(_Section):
    """The instances of jobs with a GPU."""

    machine_image: str | None = Field(
        default=None,
        pattern=r"^ami-[0-9a-f]{8,17}$",
        description="An AMI of the account's own for V100 instances (`p3.2xlarge`), which no image that AWS Batch "
        "provides supports; needs `images.training_uri`. Left out, the ECS AL2023 NVIDIA image.",
    )
    instance_types: list[str] = Field(
        min_length=1, description="EC2 instance types Batch chooses from; the more, the more Spot capacity."
    )
    max_vcpus: MaxVcpus = Field(description="Most vCPUs at a time, for Spot and for On-Demand each.")

    @field_validator("instance_types")
    @classmethod
    def _types_fit_the_image(cls, types: list[str], info: ValidationInfo) -> list[str]:
        known = VOLTA_INSTANCES if info.data.get("machine_image") else GPU_INSTANCES
        return [check_instance_type(type_, known=known) for type_ in types]


class KubernetesSettings(_Section):
    """An EKS cluster of the account's own that runs the jobs in place of ECS; prepared as docs/kubernetes.md says."""

    cluster_name: str = Field(pattern=r"^[0-9A-Za-z][A-Za-z0-9_-]{0,99}$", description="Name of the EKS cluster.")
    namespace: str = Field(
        default="rlpipe",
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        description="Kubernetes namespace of the jobs; Batch takes neither `default` nor one that begins with `kube-`.",
    )
    vpc_id: str = Field(pattern=r"^vpc-[0-9a-f]{8,17}$", description="The cluster's VPC; the stage's own is not used.")
    subnet_ids: list[Annotated[str, Field(pattern=r"^subnet-[0-9a-f]{8,17}$")]] = Field(
        min_length=2, description="Subnets of that VPC for the instances, in two zones at least."
    )
    security_group_id: str = Field(
        pattern=r"^sg-[0-9a-f]{8,17}$", description="The cluster's security group, by which instances reach it."
    )

    @field_validator("namespace")
    @classmethod
    def _batch_takes_it(cls, namespace: str) -> str:
        if namespace == "default" or namespace.startswith("kube-"):
            raise ValueError("neither `default` nor one that begins with `kube-`")
        return namespace


class ComputeSettings(_Section):
    """The Batch compute environments."""

    kubernetes: KubernetesSettings | None = Field(
        default=None, description="Run the jobs on an EKS cluster that is there already; left out, on ECS."
    )
    cpu: CpuPoolSettings
    gpu: GpuPoolSettings
    volume_gib: int = Field(
        default=100, ge=30, le=1000, description="Encrypted gp3 root volume of an instance: images and scratch space."
    )
    capacity_wait_hours: float = Field(
        default=4, ge=1 / 6, le=24, description="How long a job waits for an instance before it is cancelled."
    )


class JobSettings(_Section):
    """The size and the limits of one kind of job."""

    vcpus: int = Field(ge=1, le=64, description="vCPUs of the container.")
    memory_mib: int = Field(ge=256, le=262_144, description="Memory of the container, hard limit.")
    timeout_hours: float = Field(gt=0, le=168, description="Longest attempt; Batch terminates it then.")
    attempts: int = Field(
        ge=1, le=10, description="Attempts: only a reclaimed Spot instance, a failed image pull or exit 75 is retried."
    )
    price_per_hour: float = Field(
        ge=0,
        description="USD an hour of this job costs, the On-Demand price; `limits.max_cost_usd` is counted with it.",
    )


class GpuJobSettings(JobSettings):
    """The size and the limits of one kind of job that needs GPUs."""

    gpus: int = Field(default=1, ge=1, le=8, description="GPUs of the container.")


class JobsSettings(_Section):
    """The Batch job definitions."""

    train_cpu: JobSettings
    train_gpu: GpuJobSettings
    validation: JobSettings
    preparation: JobSettings


class ServerlessSettings(_Section):
    """SageMaker endpoints of the target `sagemaker-serverless`."""

    memory_mb: Literal[1024, 2048, 3072, 4096, 5120, 6144] = Field(
        default=1024, description="Memory of the container; vCPUs come with it."
    )
    max_concurrency: int = Field(
        default=5, ge=1, le=200, description="Requests at a time; an account has room for ten to begin with."
    )


Cron = Annotated[str, Field(pattern=r"^cron\(\S+( \S+){5}\)$")]


class ScheduleSettings(_Section):
    """When the endpoints of a stage are switched off and on."""

    off: Cron = Field(description="When all are switched off, such as `cron(0 20 ? * MON-FRI *)`.")
    on: Cron | None = Field(default=None, description="When those come back that the schedule has switched off.")
    timezone: str = Field(
        default="UTC", pattern=r"^[A-Za-z_]+(/[A-Za-z_+-]+[0-9]*)*$", description="Such as `Europe/Berlin`."
    )


_FARGATE_MIB = {256: (512, 2048), 512: (1024, 4096), 1024: (2048, 8192), 2048: (4096, 16384), 4096: (8192, 30720)}
"""Least and most memory of a task, by its CPU units.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html#fargate-tasks-size
"""


class EcsSettings(_Section):
    """Services on ECS, for `deploy.target: ecs`: tasks of Fargate behind one internal load balancer."""

    cpu: Literal[256, 512, 1024, 2048, 4096] = Field(
        default=256, description="CPU units of a task, 1024 a vCPU. The server uses one vCPU at most."
    )
    memory_mib: int = Field(default=512, description="Memory of a task, in MiB.")
    tasks: int = Field(default=1, ge=1, le=100, description="Tasks of a service.")
    max_tasks: int | None = Field(
        default=None, ge=1, le=100, description="Most tasks of a service; left out, `tasks` and no more."
    )
    cpu_percent: int = Field(
        default=60, ge=10, le=90, description="CPU of the tasks, in percent, above which another one is started."
    )
    vcpu_hour: float = Field(default=0.04048, ge=0, description="USD of a vCPU an hour.")
    gb_hour: float = Field(default=0.004445, ge=0, description="USD of a GB of memory an hour.")
    balancer_hour: float = Field(default=0.0225, ge=0, description="USD of the load balancer an hour.")

    @property
    def task_hour(self) -> float:
        """USD of a task an hour."""
        return round(self.cpu / 1024 * self.vcpu_hour + self.memory_mib / 1024 * self.gb_hour, 6)

    @model_validator(mode="after")
    def _size(self) -> Self:
        least, most = _FARGATE_MIB[self.cpu]
        if not least <= self.memory_mib <= most:
            raise ValueError(f"memory_mib: {least} to {most} with cpu {self.cpu}, it is {self.memory_mib}")
        if self.max_tasks is not None and self.max_tasks < self.tasks:
            raise ValueError(f"max_tasks: at least the {self.tasks} of tasks, it is {self.max_tasks}")
        return self


class ServingSettings(_Section):
    """Endpoints. They are created by the pipeline, one a policy."""

    instance_type: str = Field(
        pattern=r"^ml\.[a-z0-9]+\.[a-z0-9]+$", description="Instance type of an endpoint, such as `ml.t2.medium`."
    )
    instances: int = Field(
        default=1,
        ge=1,
        le=100,
        description="Instances of an endpoint. With two or more they are in different zones, and a new policy gets "
        "only a part of the requests first (`deploy.canary_percent`).",
    )
    price_per_hour: float = Field(
        default=0,
        ge=0,
        description="USD an hour of one instance costs; what an endpoint will cost is estimated with it.",
    )
    max_instances: int | None = Field(
        default=None, ge=1, le=100, description="Most instances of an endpoint; left out, `instances` and no more."
    )
    invocations_per_minute: int = Field(
        default=30_000, ge=1, description="Requests a minute of one instance, above which another one is started."
    )
    serverless: ServerlessSettings = Field(default_factory=ServerlessSettings)
    ecs: EcsSettings | None = Field(
        default=None,
        description="A cluster and an internal load balancer for `deploy.target: ecs`; left out, there are none. The "
        "load balancer costs $16 a month, whether anybody calls or not.",
    )
    schedule: ScheduleSettings | None = Field(
        default=None, description="When endpoints are switched off and on; left out, never."
    )

    @model_validator(mode="after")
    def _most_is_not_below_least(self) -> Self:
        if self.max_instances is not None and self.max_instances < self.instances:
            raise ValueError(f"max_instances: at least the {self.instances} of instances, it is {self.max_instances}")
        return self


class ImagesSettings(_Section):
    """Where the two container images come from."""

    builder: Literal["docker", "codebuild"] = Field(
        default="docker",
        description="Who builds them: `docker`, the engine of whoever deploys; `codebuild`, a project in the account, "
        "after each deployment that changes one.",
    )
    training_uri: ImageUri | None = Field(
        default=None, description="A training image that is in ECR already; nothing is built then."
    )
    serving_uri: ImageUri | None = Field(
        default=None, description="A serving image that is in ECR already; nothing is built then."
    )


class FunctionsSettings(_Section):
    """The Lambda functions."""

    bundle_dependencies: bool = Field(
        default=True,
        description="Put the functions' dependencies into their package with pip; `false` only where the functions "
        "run in an environment that has them. `-c bundling=off` switches it off for one synth.",
    )


class SlackSettings(_Section):
    """A Slack channel that messages go to, by Amazon Q Developer in chat applications.

    Somebody must authorise the workspace once, in the console of Amazon Q Developer in chat applications.
    """

    workspace_id: str = Field(pattern=r"^[0-9A-Z]{1,255}$", description="Id of the workspace, such as `T07EA123LEP`.")
    channel_id: str = Field(pattern=r"^[A-Za-z0-9]{1,255}$", description="Id of the channel, such as `C07EZ1ABC23`.")


class TeamsSettings(_Section):
    """A channel of Microsoft Teams that messages go to, by Amazon Q Developer in chat applications.

    Somebody must authorise the team once, in the console of Amazon Q Developer in chat applications.
    """

    tenant_id: Uuid = Field(description="Id of the tenant.")
    team_id: Uuid = Field(description="Id of the team.")
    channel_id: str = Field(
        pattern=r"^([a-zA-Z0-9-_=+/.,])*%3[aA]([a-zA-Z0-9-_=+/.,])*%40([a-zA-Z0-9-_=+/.,])*$",
        description="Id of the channel as its link has it, such as `19%3a0123abcd%40thread.tacv2`.",
    )


class AlertsSettings(_Section):
    """Who is told of the ends of runs and of what is wrong, and when something counts as wrong."""

    email: str | None = Field(
        default=None, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$", description="Subscribed to the topic; must be confirmed."
    )
    slack: SlackSettings | None = Field(default=None, description="A Slack channel.")
    teams: TeamsSettings | None = Field(default=None, description="A channel of Microsoft Teams.")
    monthly_budget_usd: float | None = Field(
        default=None,
        gt=0,
        description="Tell `alerts.email` when the account's bill for this stage's resources, by their tag `stage`, "
        "reaches 80 % of it, or is forecast to exceed it.",
    )
    patience_minutes: int = Field(
        default=5, ge=1, le=60, description="How long a collapsed entropy or a fallen return must last."
    )
    return_drop: float = Field(
        default=0.5, gt=0, le=1, description="How much of what was learnt may be lost again, as a share of it."
    )
    checkpoint_overdue_minutes: float = Field(default=15, gt=0, le=24 * 60, description="How late a checkpoint may be.")
    without_step_minutes: float = Field(
        default=10,
        gt=0,
        le=24 * 60,
        description="How long a training may take no step; runs have a limit of their own.",
    )
    budget_percent: float = Field(default=80, gt=0, le=100, description="How much of a run's cost limit may be used.")


class MetricsSettings(_Section):
    """What trainings tell CloudWatch."""

    every_seconds: int = Field(
        default=60,
        ge=1,
        le=900,
        description="Seconds between two values of a training's metrics; CloudWatch keeps one a minute.",
    )
    mlflow_tracking_uri: str | None = Field(
        default=None,
        pattern=r"^(https?://[^\s@]+|arn:aws:sagemaker:[a-z0-9-]+:[0-9]{12}:mlflow-tracking-server/[A-Za-z0-9-]+)$",
        description="An MLflow server that trainings are told to as well: its address, without a password, or the ARN "
        "of a managed one of SageMaker.",
    )


class ApiSettings(_Section):
    """The HTTP API."""

    auth: Literal["iam", "api_key"] = Field(
        default="iam", description="Who may call it: `iam`, whoever has the permission; `api_key`, whoever has the key."
    )
    requests_per_second: int = Field(
        default=50, ge=1, le=10_000, description="Of all callers together, to each way of asking about runs."
    )
    actions_per_second: int = Field(
        default=2000, ge=1, le=10_000, description="Of all callers together, asked of policies; twice as many at once."
    )
    requests_per_day: int = Field(default=100_000, ge=1, description="Of the API key, where `auth` is `api_key`.")
    cors_origins: list[str] = Field(
        default=[], description="Web pages that may call it from a browser, such as `https://example.org`; none."
    )
    firewall: bool = Field(
        default=False, description="AWS WAF before it, with AWS's common rules; about $9 a month and $0.60 a million."
    )


class SweeperSettings(_Section):
    """What is left over of runs: jobs, executions and endpoints that belong to nobody any more."""

    mode: Literal["off", "report", "end"] = Field(
        default="report",
        description="`report` tells of them; `end` ends them and tells; `off` does not look.",
    )
    every_minutes: int = Field(default=60, ge=10, le=24 * 60, description="Minutes between two looks.")


class StorageSettings(_Section):
    """How long files are kept."""

    recoverable_days: int = Field(
        default=30, ge=1, le=3650, description="Days a replaced or deleted version of a file stays recoverable."
    )
    captured_days: int = Field(
        default=30, ge=1, le=3650, description="Days that captured requests are kept (`deploy.drift`, `deploy.shadow`)."
    )
    data_quiet_seconds: int = Field(
        default=60,
        ge=1,
        le=900,
        description="Seconds without a new file in an experiment's `data/` after which those that came start a run.",
    )
    access_log_days: int = Field(default=90, ge=1, le=3650, description="Days that access logs are kept.")
    checkpoint_days: int = Field(
        default=100,
        ge=91,
        le=3650,
        description="Days that checkpoints are kept: more than the 90 that a run may take, or wait, before it goes on. "
        "Models, verdicts and reports stay.",
    )


class Settings(_Section):
    """One stage."""

    stage: str = Field(pattern=r"^[a-z][a-z0-9]{1,15}$", description="Name of the stage; the file is named after it.")
    account: str | None = Field(
        default=None, pattern=r"^\d{12}$", description="Account; left out, the one of the credentials at deployment."
    )
    region: str | None = Field(
        default=None, pattern=r"^[a-z]{2}(-[a-z]+)+-\d$", description="Region; left out, the one of the credentials."
    )
    protect: bool = Field(
        description="Keep buckets and logs when a stack is deleted, and protect the stacks from deletion."
    )
    empty_on_destroy: bool = Field(
        default=False,
        description="Let `cdk destroy` take the files, models and endpoints of all runs with it, by a function that "
        "it calls; not where `protect` is true.",
    )
    judge: bool = Field(
        default=True,
        description="Let cdk-nag and the CDK's own rules judge each synthesis, and note for checkov what is accepted; "
        "`false` where synthesis must be quick and tests do it.",
    )
    log_retention_days: RetentionDays = Field(description="Days that logs are kept.")
    network: NetworkSettings = Field(default_factory=NetworkSettings)
    storage: StorageSettings = Field(default_factory=StorageSettings)
    compute: ComputeSettings
    jobs: JobsSettings
    serving: ServingSettings
    images: ImagesSettings = Field(default_factory=ImagesSettings)
    functions: FunctionsSettings = Field(default_factory=FunctionsSettings)
    alerts: AlertsSettings = Field(default_factory=AlertsSettings)
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)
    api: ApiSettings = Field(default_factory=ApiSettings)
    sweeper: SweeperSettings = Field(default_factory=SweeperSettings)

    @model_validator(mode="after")
    def _account_and_region(self) -> Self:
        if (self.account is None) != (self.region is None):
            raise ValueError("account and region: give both or neither")
        return self

    @model_validator(mode="after")
    def _protected_is_kept(self) -> Self:
        if self.protect and self.empty_on_destroy:
            raise ValueError("empty_on_destroy: not together with protect: true")
        return self

    @model_validator(mode="after")
    def _budget_has_a_reader(self) -> Self:
        if self.alerts.monthly_budget_usd is not None and self.alerts.email is None:
            raise ValueError("alerts.email: required with alerts.monthly_budget_usd: AWS Budgets writes to it")
        return self

    @model_validator(mode="after")
    def _own_machine_image_has_own_training_image(self) -> Self:
        if self.compute.gpu.machine_image and not self.images.training_uri:
            raise ValueError(
                "images.training_uri: required with compute.gpu.machine_image: a V100 needs a training image whose "
                "PyTorch was built for CUDA 12.6"
            )
        return self

    @model_validator(mode="after")
    def _kubernetes_has_its_own_machine_images(self) -> Self:
        if self.compute.kubernetes and self.compute.gpu.machine_image:
            raise ValueError("compute.gpu.machine_image: not together with compute.kubernetes: it is made for ECS")
        return self

    @model_validator(mode="after")
    def _jobs_fit(self) -> Self:
        compute, jobs = self.compute, self.jobs
        for name, job, pool, known in (
            ("train_cpu", jobs.train_cpu, compute.cpu, CPU_INSTANCES),
            ("train_gpu", jobs.train_gpu, compute.gpu, {**GPU_INSTANCES, **VOLTA_INSTANCES}),
            ("validation", jobs.validation, compute.cpu, CPU_INSTANCES),
            ("preparation", jobs.preparation, compute.cpu, CPU_INSTANCES),
        ):
            _check_fit(f"jobs.{name}", job, pool.max_vcpus, {type_: known[type_] for type_ in pool.instance_types})
        return self


class SettingsError(ValueError):
    """A stage's settings were refused; every line names a field, what is allowed and what was given."""


def load_settings(stage: str, folder: Path = FOLDER) -> Settings:
    """Read and check `<folder>/<stage>.yaml`.

    Raises:
        SettingsError: if there is no such stage or anything in its file is wrong.
    """
    path = folder / f"{stage}.yaml"
    stages = sorted(file.stem for file in folder.glob("*.yaml"))
    if stage not in stages:
        raise SettingsError(f"stage: one of {', '.join(stages)} (given: {stage!r}); each is a file in config/")
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise SettingsError(f"{path.name}: not valid YAML: {error}") from error
    try:
        settings = Settings.model_validate(document)
    except ValidationError as error:
        raise SettingsError("\n".join(f"{path.name}: {_problem(item)}" for item in error.errors())) from error
    if settings.stage != stage:
        raise SettingsError(f"{path.name}: stage: must be {stage!r}, as the file is named (given: {settings.stage!r})")
    return settings


def gpus_of(job: JobSettings) -> int:
    """How many GPUs the containers of a job have."""
    return job.gpus if isinstance(job, GpuJobSettings) else 0


def _check_fit(name: str, job: JobSettings, max_vcpus: int, instances: dict[str, Instance]) -> None:
    if job.vcpus > max_vcpus:
        raise ValueError(f"{name}.vcpus: at most the {max_vcpus} of its compute environment, it is {job.vcpus}")
    gpus = gpus_of(job)
    if not any(
        job.vcpus <= instance.vcpus and job.memory_mib <= instance.memory_mib and gpus <= instance.gpus
        for instance in instances.values()
    ):
        offered = "; ".join(f"{type_} has {instance}" for type_, instance in instances.items())
        wanted = Instance(vcpus=job.vcpus, memory_mib=job.memory_mib, gpus=gpus)
        raise ValueError(f"{name}: {wanted} fit no instance of its compute environment: {offered}")


def _problem(error: Any) -> str:
    field = ".".join(str(part) for part in error["loc"])
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = "no such setting"
    if error["type"] == "missing":
        return f"{field}: required"
    if not field or isinstance(error["input"], dict):
        return f"{field}: {message}" if field else message
    return f"{field}: {message} (given: {error['input']!r})"

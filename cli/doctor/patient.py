"""Whom the doctor looks at: a stage, in an account or on this machine, and the run that is meant to run there."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cli.deployment import Place
from config.instances import CPU_INSTANCES, GPU_INSTANCES, VOLTA_INSTANCES, Instance
from config.settings import JobSettings, Settings, gpus_of
from contract.run import RunSpecification


@dataclass(frozen=True, kw_only=True)
class Need:
    """Instances of one pool that jobs need."""

    pool: str
    """`cpu` or `gpu`, as in the settings."""
    job: str
    """Name of the job's settings."""
    vcpus: int
    """Of the smallest instance type that one such job fits."""
    types: tuple[str, ...]
    """The pool's instance types that the job fits."""
    at_once: int
    """vCPUs that the pool may have at a time, or that the jobs of the run take if that is less."""
    uses_spot: bool
    """Whether Spot is tried before On-Demand."""


@dataclass(frozen=True, kw_only=True)
class Patient:
    """One stage."""

    place: Place
    settings: Settings
    specification: RunSpecification | None
    """The run that is asked about, resolved; None means any."""
    account: str
    region: str

    @property
    def stage(self) -> str:
        return self.settings.stage

    def client(self, service: str, *, region: str | None = None) -> Any:
        """A client of the place's AWS."""
        return self.place.client(service, region=region)

    @cached_property
    def outputs(self) -> dict[str, dict[str, str]]:
        """The outputs of every stack of the stage that exists, by room."""
        return {room: stack["outputs"] for room, stack in self.stacks.items()}

    @cached_property
    def stacks(self) -> dict[str, dict[str, Any]]:
        """Status and outputs of every stack of the stage that exists, by room."""
        prefix = f"rlpipe-{self.stage}-"
        pages = self.client("cloudformation").get_paginator("describe_stacks").paginate()
        return {
            stack["StackName"].removeprefix(prefix): {
                "status": stack["StackStatus"],
                "outputs": {o["OutputKey"]: o["OutputValue"] for o in stack.get("Outputs", [])},
            }
            for page in pages
            for stack in page["Stacks"]
            if stack["StackName"].startswith(prefix) and stack["StackStatus"] != "DELETE_COMPLETE"
        }

    @cached_property
    def definition(self) -> str | None:
        """The deployed state machine's definition, which names all that a run uses; None before it is deployed."""
        arn = self.outputs.get("pipeline", {}).get("StateMachineArn")
        if arn is None:
            return None
        definition: str = self.client("stepfunctions").describe_state_machine(stateMachineArn=arn)["definition"]
        return definition

    @property
    def deploys(self) -> bool:
        """Whether a run makes or changes an endpoint."""
        return self.specification is None or self.specification.deploy.target == "sagemaker"

    @property
    def needs(self) -> list[Need]:
        """What the jobs of a run need; of the run that is asked about, or of any that the settings allow."""
        found = [self._need("validation", "cpu", uses_spot=False, jobs=1)]
        asked = self.specification
        for accelerator in ("cpu", "gpu") if asked is None else (asked.compute.accelerator,):
            uses_spot = asked is None or asked.compute.spot
            jobs = None if asked is None else len(asked.seeds)
            found.append(self._need(f"train_{accelerator}", accelerator, uses_spot=uses_spot, jobs=jobs))
        return found

    def _need(self, name: str, pool: str, *, uses_spot: bool, jobs: int | None) -> Need:
        job: JobSettings = getattr(self.settings.jobs, name)
        settings = getattr(self.settings.compute, pool)
        fitting = {type_: known for type_ in settings.instance_types if _fits(job, known := _instance(type_))}
        smallest = min(instance.vcpus for instance in fitting.values())
        wanted = settings.max_vcpus if jobs is None else min(settings.max_vcpus, jobs * smallest)
        return Need(
            pool=pool,
            job=name,
            vcpus=smallest,
            types=tuple(fitting),
            at_once=wanted,
            uses_spot=uses_spot,
        )


def _instance(type_: str) -> Instance:
    return {**CPU_INSTANCES, **GPU_INSTANCES, **VOLTA_INSTANCES}[type_]


def _fits(job: JobSettings, instance: Instance) -> bool:
    return job.vcpus <= instance.vcpus and job.memory_mib <= instance.memory_mib and gpus_of(job) <= instance.gpus

"""The EC2 instances a stage may use, and why others are refused."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Instance:
    """What one instance type has.

    Attributes:
        memory_mib: what a container may ask for. The ECS agent and the kernel keep the rest; a job that asks
            for more than this stays RUNNABLE for ever.
    """

    vcpus: int
    memory_mib: int
    gpus: int = 0

    def __str__(self) -> str:
        gpus = f" and {self.gpus} GPU" if self.gpus else ""
        return f"{self.vcpus} vCPUs, {self.memory_mib} MiB{gpus}"


GPU_INSTANCES = {
    "g4dn.xlarge": Instance(vcpus=4, memory_mib=14_500, gpus=1),
    "g4dn.2xlarge": Instance(vcpus=8, memory_mib=30_000, gpus=1),
    "g5.xlarge": Instance(vcpus=4, memory_mib=14_500, gpus=1),
    "g6.xlarge": Instance(vcpus=4, memory_mib=14_500, gpus=1),
}
"""All have a GPU that the ECS AL2023 NVIDIA image and current PyTorch wheels support, and local or EBS disks."""

CPU_INSTANCES = {
    f"{family}.{size}": Instance(vcpus=vcpus, memory_mib=int(vcpus * gib_per_vcpu * 1024 * 0.9))
    for family, gib_per_vcpu in {"c6i": 2, "c7i": 2, "m6i": 4, "m7i": 4}.items()
    for size, vcpus in {"large": 2, "xlarge": 4, "2xlarge": 8, "4xlarge": 16}.items()
}

VOLTA_INSTANCES = {"p3.2xlarge": Instance(vcpus=8, memory_mib=58_000, gpus=1)}
"""V100: only where a stage brings its own machine image and a training image for CUDA 12.6."""

MAX_VCPUS = 512
"""Most vCPUs of one compute environment."""

_RETIRED = {
    "p2": "K80 (sm_37): no current NVIDIA driver, ECS image or PyTorch wheel supports it",
    "p3": "V100 (sm_70): the ECS AL2023 NVIDIA image does not support it and PyTorch wheels for CUDA 12.8 and later "
    "have no code for it",
    "g3": "M60 (sm_52): the ECS AL2023 NVIDIA image does not support it",
    "g3s": "M60 (sm_52): the ECS AL2023 NVIDIA image does not support it",
}


def retired(instance_type: str) -> str | None:
    """Why an instance type's family is no longer used; None if it is."""
    return _RETIRED.get(instance_type.partition(".")[0])


def check_instance_type(name: str, known: dict[str, Instance]) -> str:
    """Return `name` if `known` has it.

    Raises:
        ValueError: saying why a retired family is refused, or which types are known.
    """
    if name in known:
        return name
    allowed = ", ".join(known)
    reason = retired(name)
    if reason:
        hint = f"; {name} needs an image of its own, compute.gpu.machine_image" if name in VOLTA_INSTANCES else ""
        raise ValueError(f"{name.partition('.')[0]} is retired, {reason}; use one of {allowed}{hint}")
    raise ValueError(f"use one of {allowed}")

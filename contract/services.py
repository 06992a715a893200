"""Where a stage puts its services on ECS: what the stacks tell the function that makes them."""

from pydantic import BaseModel, ConfigDict


class ServicesPlace(BaseModel):
    """The cluster, the load balancer's listener, the network and the roles of tasks, and how large tasks are."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    cluster: str
    listener_arn: str
    vpc: str
    subnets: list[str]
    public: bool
    """Whether a task gets an address of the internet, to reach what it needs of AWS."""
    security_group: str
    log_group: str
    execution_role_arn: str
    task_role_arn: str
    balancing_role_arn: str
    """As it ECS moves requests between target groups."""
    cpu: int
    memory_mib: int
    tasks: int
    max_tasks: int
    cpu_percent: int


def family_of(task_definition: str) -> str:
    """The family of a task definition's ARN: the run whose policy it serves."""
    return task_definition.rpartition("/")[2].partition(":")[0]

"""What a served policy costs, estimated from the prices in a stage's settings."""

from pydantic import BaseModel, ConfigDict, Field

HOURS_A_MONTH = 730
"""AWS's own month."""


class ServingPrices(BaseModel):
    """What a stage pays for what serves, in USD."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    instances: int = Field(description="Instances of a real-time endpoint, when nobody calls.")
    instance_hour: float = Field(description="One of them, an hour.")
    tasks: int = Field(default=0, description="Tasks of a service on ECS; 0 where the stage has none.")
    task_hour: float = Field(default=0, description="One of them, an hour.")
    balancer_hour: float = Field(default=0, description="The load balancer that all services share, an hour.")


def monthly_usd(prices: ServingPrices) -> dict[str, float]:
    """By `deploy.target`, what an endpoint costs a month while it is on and nobody calls."""
    found = {
        "sagemaker": round(prices.instances * prices.instance_hour * HOURS_A_MONTH, 2),
        "sagemaker-serverless": 0.0,
        "none": 0.0,
    }
    if prices.tasks:
        # The first service is paid for with the load balancer; the others cost their tasks.
        hourly = prices.tasks * prices.task_hour + prices.balancer_hour
        found["ecs"] = round(hourly * HOURS_A_MONTH, 2)
    return found

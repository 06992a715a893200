"""What a served policy costs, estimated from the prices in a stage's settings."""

from pydantic import BaseModel, ConfigDict, Field

HOURS_A_MONTH = 730
"""AWS's own month."""


class ServingPrices(BaseModel):
    """What a stage pays for what serves, in USD."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    instances: int = Field(description="Instances of a real-time endpoint, when nobody calls.")
    instance_hour: float = Field(description="One of them, an hour.")


def monthly_usd(prices: ServingPrices) -> dict[str, float]:
    """By `deploy.target`, what an endpoint costs a month while it is on and nobody calls."""
    return {
        "sagemaker": round(prices.instances * prices.instance_hour * HOURS_A_MONTH, 2),
        "sagemaker-serverless": 0.0,
        "none": 0.0,
    }

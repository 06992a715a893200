"""What this stage pays for what serves."""

import os

from contract.cost import ServingPrices


def of_stage() -> ServingPrices:
    """The prices of the stage's settings."""
    return ServingPrices.model_validate_json(os.environ["SERVING_PRICES"])

"""Environments that ship with the project: they replay a table of history.

`table` is what they share, `battery` and `inventory` are two of them. Each says what its table must have, and what a
return in it is worth: what doing nothing brings, what a sensible rule earns, and the most that foresight could.
"""

import gymnasium


def register() -> None:
    """Tell Gymnasium of them."""
    names = {"BatteryArbitrage-v0": "battery:Battery", "InventoryControl-v0": "inventory:Inventory"}
    for name, entry_point in names.items():
        if name not in gymnasium.registry:
            gymnasium.register(
                id=name,
                entry_point=f"training_image.environments.{entry_point}",
                vector_entry_point=f"training_image.environments.{entry_point}Vector",
            )

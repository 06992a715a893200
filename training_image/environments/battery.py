"""Battery arbitrage: buy power when it is cheap, store it, sell it when it is dear.

An episode is a week of a table of prices. What is left in the battery at its end is worth nothing. As after a day-ahead
auction, the prices of the next hours are known.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from contract.catalogue import ColumnType
from training_image.environments.table import (
    Floats,
    Model,
    Observations,
    Rule,
    TableEnv,
    TableVectorEnv,
    check_length,
    circle,
    hours_of,
    starts_in,
)

LEVELS = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
"""What the actions mean: shares of the power, to sell below 0 and to buy above."""


class Battery(TableEnv):
    """One battery.

    The action is one of five: sell at full or half power, do nothing, buy at half or full power. Full or empty, the
    battery takes or gives only what it can. The reward is the money of the hour, less the wear of what was sold.
    """

    table_columns: ClassVar[dict[str, ColumnType]] = {"price": "number"}

    def __init__(
        self,
        table: Any = None,
        capacity: float = 1.0,
        power: float = 0.25,
        efficiency: float = 0.9,
        wear: float = 2.0,
        hours: int = 168,
        known_hours: int = 12,
    ) -> None:
        """
        :param table: `time` and `price`, hour by hour; left out, a made-up month.
        :param capacity: MWh that fit.
        :param power: MW, in and out.
        :param efficiency: what is left of power that goes in and out again.
        :param wear: what selling a MWh costs the battery, in the currency of the prices.
        :param hours: of an episode.
        :param known_hours: whose prices are known, this one included.
        """
        super().__init__(BatteryModel(table, capacity, power, efficiency, wear, hours, known_hours))


class BatteryVector(TableVectorEnv):
    """Many batteries at one table of prices. The arguments are those of `Battery`."""

    single = Battery


class BatteryModel(Model):
    """The dynamics. The state is the energy that is stored, in MWh."""

    def __init__(
        self, table: Any, capacity: float, power: float, efficiency: float, wear: float, hours: int, known_hours: int
    ) -> None:
        if not (capacity > 0 and power > 0 and 0 < efficiency <= 1 and wear >= 0 and hours > 0 and known_hours > 0):
            raise ValueError("capacity, power, hours and known_hours must be above 0, efficiency at most 1")
        check_length(hours, "hours")
        prices, clock = _made_up() if table is None else (table["price"].to_numpy(), hours_of(table))
        self.steps = hours
        self.starts = starts_in(len(prices), needed=hours + known_hours, apart=24)
        self._capacity, self._power, self._wear = capacity, power, wear
        self._one_way = float(np.sqrt(efficiency))
        self._prices = np.asarray(prices, dtype=np.float64)
        self._calendar = np.concatenate([circle(clock, 24), circle(clock, 168)], axis=1)
        self._known = np.arange(known_hours)
        self.observation_space = spaces.Box(-np.inf, np.inf, (known_hours + 6,), np.float32)
        self.action_space = spaces.Discrete(len(LEVELS))

    def begin(self, rows: npt.NDArray[np.int64]) -> Floats:
        return np.zeros((len(rows), 1))

    def observe(self, rows: npt.NDArray[np.int64], step: npt.NDArray[np.int64], state: Floats) -> Observations:
        """Charge, time left (of a day), the clock, and the known prices: this hour's first."""
        now = np.minimum(rows + step, len(self._prices) - len(self._known))
        left = np.minimum(self.steps - step, 24)[:, None] / 24
        known = self._prices[now[:, None] + self._known]
        return np.concatenate([state / self._capacity, left, self._calendar[now], known], axis=1).astype(np.float32)

    def advance(
        self, rows: npt.NDArray[np.int64], step: npt.NDArray[np.int64], state: Floats, actions: npt.NDArray[Any]
    ) -> Floats:
        wanted = LEVELS[np.asarray(actions).reshape(-1)] * self._power
        energy = state[:, 0]
        bought = np.minimum(np.maximum(wanted, 0), (self._capacity - energy) / self._one_way)
        sold = np.minimum(np.maximum(-wanted, 0), energy * self._one_way)
        state[:, 0] = np.clip(energy + bought * self._one_way - sold / self._one_way, 0, self._capacity)
        return np.asarray(self._prices[rows + step] * (sold - bought) - self._wear * sold)

    def optimum(self, row: int) -> float:
        """A linear programme over what is bought and sold in each hour, of any amount."""
        from scipy.optimize import linprog  # type: ignore[import-untyped]
        from scipy.sparse import eye_array, hstack, tril, vstack  # type: ignore[import-untyped]

        prices = self._prices[row : row + self.steps]
        sums = tril(np.ones((self.steps, self.steps)))
        stored = hstack([sums * self._one_way, -sums / self._one_way])
        # One inverter: what is bought and sold in an hour share its power.
        shared = hstack([eye_array(self.steps), eye_array(self.steps)])
        found = linprog(
            np.concatenate([prices, self._wear - prices]),
            A_ub=vstack([stored, -stored, shared]),
            b_ub=np.concatenate(
                [np.full(self.steps, self._capacity), np.zeros(self.steps), np.full(self.steps, self._power)]
            ),
            bounds=(0, self._power),
            method="highs",
        )
        if not found.success:
            raise RuntimeError(f"the optimum of row {row} was not found: {found.message}")
        return -float(found.fun)

    def rules(self) -> Mapping[str, Rule]:
        """`rule`: buy in the cheapest quarter of the hours that are known, sell in the dearest."""

        def nothing(observations: Observations) -> npt.NDArray[Any]:
            return np.full(len(observations), 2)

        def quarters(observations: Observations) -> npt.NDArray[Any]:
            known = observations[:, 6:]
            cheap, dear = np.quantile(known, [0.25, 0.75], axis=1)
            price = known[:, 0]
            return np.where(price <= cheap, 4, np.where(price >= dear, 0, 2))

        return {"nothing": nothing, "rule": quarters}


def _made_up() -> tuple[Floats, Floats]:
    """Thirty days that repeat: cheap nights, a dear morning, a dearer evening."""
    clock = np.arange(30 * 24, dtype=np.float64)
    hour = clock % 24
    prices = 60 - 25 * np.cos(2 * np.pi * (hour - 4) / 24) + 20 * np.exp(-((hour - 19) ** 2) / 6)
    return prices, clock

"""Inventory control: order so that there is enough to sell, and not so much that it lies about.

An episode is eight weeks of a table of daily demand for one article. An order arrives after its lead time; demand that
cannot be met is lost.
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

SEEN = 14
"""Days of past demand that are seen."""
ORDERS = 21
"""Sizes of an order: none, a twentieth of the largest, two twentieths, ..."""


class Inventory(TableEnv):
    """One shelf.

    The action is the size of the order, from 0 to 20 twentieths of the largest. The reward is the day's money: what was
    sold at `price`, less what was ordered at `cost`, less `holding` for each unit that is left over, less `lost` for
    each that was asked for in vain. What is left at the end is worth nothing.
    """

    table_columns: ClassVar[dict[str, ColumnType]] = {"demand": "number"}

    def __init__(
        self,
        table: Any = None,
        price: float = 10.0,
        cost: float = 6.0,
        holding: float = 0.2,
        lost: float = 1.0,
        lead_days: int = 2,
        largest_order: float = 200.0,
        days: int = 56,
    ) -> None:
        """
        :param table: `time` and `demand`, day by day; left out, a made-up year.
        :param lead_days: days after which an order can be sold.
        :param largest_order: units.
        :param days: of an episode.
        """
        super().__init__(InventoryModel(table, price, cost, holding, lost, lead_days, largest_order, days))


class InventoryVector(TableVectorEnv):
    """Many shelves, one table of demand. The arguments are those of `Inventory`."""

    single = Inventory


class InventoryModel(Model):
    """The dynamics. The state is the stock, and the orders on their way, the next to arrive first."""

    def __init__(
        self,
        table: Any,
        price: float,
        cost: float,
        holding: float,
        lost: float,
        lead_days: int,
        largest_order: float,
        days: int,
    ) -> None:
        if not (price > 0 and cost >= 0 and holding >= 0 and lost >= 0 and lead_days >= 1 and largest_order > 0):
            raise ValueError("price, lead_days and largest_order must be above 0, cost, holding and lost not below")
        check_length(days, "days")
        demand, clock = _made_up() if table is None else (table["demand"].to_numpy(), hours_of(table))
        self.steps = days
        self._demand = np.asarray(demand, dtype=np.float64)
        self.starts = starts_in(len(demand), needed=SEEN + days, apart=1) + SEEN
        self._price, self._cost, self._holding, self._lost = price, cost, holding, lost
        self._lead, self._largest = lead_days, largest_order
        day = clock / 24
        self._calendar = np.concatenate([circle(day, 7), circle(day, 365.25)], axis=1)
        self._past = np.arange(-SEEN, 0)
        self.observation_space = spaces.Box(-np.inf, np.inf, (1 + lead_days + 1 + 4 + SEEN,), np.float32)
        self.action_space = spaces.Discrete(ORDERS)

    def begin(self, rows: npt.NDArray[np.int64]) -> Floats:
        """As much is there and under way as was asked for lately."""
        usual = self._demand[rows[:, None] + self._past].mean(axis=1)
        return np.repeat(usual[:, None], 1 + self._lead, axis=1)

    def observe(self, rows: npt.NDArray[np.int64], step: npt.NDArray[np.int64], state: Floats) -> Observations:
        """Stock and orders, time left (of two weeks), the calendar, and the demand of the days before."""
        now = np.minimum(rows + step, len(self._demand) - 1)
        left = np.minimum(self.steps - step, SEEN)[:, None] / SEEN
        past = self._demand[now[:, None] + self._past]
        return np.concatenate([state, left, self._calendar[now], past], axis=1).astype(np.float32)

    def advance(
        self, rows: npt.NDArray[np.int64], step: npt.NDArray[np.int64], state: Floats, actions: npt.NDArray[Any]
    ) -> Floats:
        order = np.asarray(actions).reshape(-1) * (self._largest / (ORDERS - 1))
        demand = self._demand[rows + step]
        sold = np.minimum(state[:, 0], demand)
        left = state[:, 0] - sold
        reward = self._price * sold - self._cost * order - self._holding * left - self._lost * (demand - sold)
        state[:, 0] = left + state[:, 1]  # what arrives tonight is there tomorrow
        state[:, 1:-1] = state[:, 2:]
        state[:, -1] = order
        return np.asarray(reward)

    def optimum(self, row: int) -> float:
        """A linear programme over orders, of any size up to the largest, and sales."""
        from scipy.optimize import linprog  # type: ignore[import-untyped]
        from scipy.sparse import hstack, tril  # type: ignore[import-untyped]

        days = self.steps
        demand = self._demand[row : row + days]
        begun = self.begin(np.array([row]))[0]
        there = begun[0] + np.cumsum(np.concatenate([[0.0], begun[1:], np.zeros(days)]))[:days]
        # What is ordered on a day can be sold when its lead time and the night after it are over.
        arrived = tril(np.ones((days, days)), k=-(self._lead + 1))
        sales = tril(np.ones((days, days)))
        days_on_the_shelf = np.asarray(arrived.sum(axis=0)).reshape(-1)
        found = linprog(
            np.concatenate(
                [
                    self._cost + self._holding * days_on_the_shelf,
                    -(self._price + self._lost) - self._holding * np.arange(days, 0, -1),
                ]
            ),
            A_ub=hstack([-arrived, sales]),
            b_ub=there,
            bounds=[(0, self._largest)] * days + [(0, amount) for amount in demand],
            method="highs",
        )
        if not found.success:
            raise RuntimeError(f"the optimum of row {row} was not found: {found.message}")
        constant = self._lost * demand.sum() + self._holding * there.sum()
        return -float(found.fun) - float(constant)

    def rules(self) -> Mapping[str, Rule]:
        """`rule`: order up to what the days until the next order can arrive usually take, and some more for safety."""
        lead, unit = self._lead, self._largest / (ORDERS - 1)

        def nothing(observations: Observations) -> npt.NDArray[Any]:
            return np.zeros(len(observations), dtype=np.int64)

        def order_up_to(observations: Observations) -> npt.NDArray[Any]:
            past = observations[:, -SEEN:].astype(np.float64)
            days = lead + 1
            target = past.mean(axis=1) * (days + 1) + past.std(axis=1) * np.sqrt(days)
            there = observations[:, : 1 + lead].sum(axis=1)
            return np.asarray(np.clip(np.round((target - there) / unit), 0, ORDERS - 1), dtype=np.int64)

        return {"nothing": nothing, "rule": order_up_to}


def _made_up() -> tuple[Floats, Floats]:
    """A year that repeats its weeks: little at their beginning, much at their end."""
    clock = np.arange(365, dtype=np.float64) * 24
    demand = np.array([60.0, 62.0, 66.0, 70.0, 85.0, 110.0, 90.0])[np.arange(365) % 7]
    return demand, clock

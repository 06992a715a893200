"""Environments that replay a table: they keep Gymnasium's rules, and nobody earns more in them than their optimum."""

from datetime import datetime
from typing import Any

import gymnasium
import numpy as np
import polars as pl
import pytest

from contract.run import EnvironmentSection
from examples.battery.make_data import prices
from examples.inventory.make_data import demand
from training_image.environments.battery import Battery, BatteryVector
from training_image.environments.inventory import Inventory, InventoryVector
from training_image.trainer.envs import environments
from training_image.trainer.envs.environment_check import problem_of
from training_image.trainer.envs.native import NativeVecEnv

IDS = ["BatteryArbitrage-v0", "InventoryControl-v0"]
PAIRS: list[tuple[Any, Any]] = [(Battery, BatteryVector), (Inventory, InventoryVector)]


def table(column: str, values: Any, every: str = "1h") -> pl.DataFrame:
    times = pl.datetime_range(datetime(2025, 1, 6), datetime(2055, 1, 1), every, eager=True).head(len(values))
    return pl.DataFrame({"time": times, column: np.asarray(values, dtype=np.float64)})


def played(environment: Any, act: Any, seed: int) -> float:
    """The return of an episode."""
    observation, _ = environment.reset(seed=seed)
    earned, over = 0.0, False
    while not over:
        observation, reward, terminated, truncated, _ = environment.step(act(observation[None])[0])
        earned, over = earned + reward, terminated or truncated
    return earned


@pytest.mark.parametrize("environment_id", IDS)
def test_they_pass_gymnasiums_checks_and_the_same_seed_is_the_same_episode(environment_id: str) -> None:
    assert problem_of(environment_id) is None


@pytest.mark.parametrize("environment_id", IDS)
def test_they_are_stepped_natively(environment_id: str) -> None:
    made = environments.make(EnvironmentSection(id=environment_id), 3)
    assert isinstance(made, NativeVecEnv)
    made.close()


@pytest.mark.parametrize("pair", PAIRS)
def test_copy_i_of_a_vector_goes_through_the_episodes_of_a_single_one(pair: tuple[Any, Any]) -> None:
    single, vector = pair
    many = vector(num_envs=3)
    observations, _ = many.reset(seed=7)
    generator = np.random.default_rng(0)
    ones = [single() for _ in range(3)]
    for copy, one in enumerate(ones):
        assert np.array_equal(one.reset(seed=7 + copy)[0], observations[copy])
    for _ in range(one.model.steps):
        actions = np.array([generator.integers(one.action_space.n) for _ in ones])
        observations, rewards, ended, _, _ = many.step(actions)
        for copy, one in enumerate(ones):
            met, reward, terminated, _, _ = one.step(actions[copy])
            assert np.array_equal(met, observations[copy])
            assert (reward, terminated) == (rewards[copy], ended[copy])
    assert ended.all()
    observations, rewards, ended, _, _ = many.step(actions)  # each begins its second episode
    assert np.array_equal(observations, np.stack([one.reset()[0] for one in ones]))
    assert not ended.any()
    assert not rewards.any()


@pytest.mark.parametrize(
    "make", [lambda: Battery(table("price", prices())), lambda: Inventory(table("demand", demand(), "1d"))]
)
def test_rules_earn_more_than_nothing_and_nobody_more_than_the_optimum(make: Any) -> None:
    environment = make()
    generator = np.random.default_rng(0)
    rules = environment.rules()
    for seed in range(8):
        environment.reset(seed=seed)
        optimum = environment.optimum()
        nothing, rule = (played(environment, rules[name], seed) for name in ("nothing", "rule"))
        chance = played(environment, lambda seen: generator.integers(environment.action_space.n, size=len(seen)), seed)
        assert nothing < rule <= optimum + 1e-6
        assert chance <= optimum + 1e-6


def test_the_optimum_of_a_battery_is_what_can_be_reckoned_by_hand() -> None:
    """Four hours: buy two quarters of a MWh at 10, sell what is left of them at 50."""
    environment = Battery(table("price", [10, 10, 50, 50, 0]), hours=4, known_hours=1, efficiency=0.81, wear=1.0)
    environment.reset(seed=0)
    sold = 0.5 * 0.81
    assert environment.optimum() == pytest.approx(sold * (50 - 1) - 0.5 * 10)
    for action in (4, 4):
        environment.step(action)
    first, second = environment.step(0)[1], environment.step(0)[1]
    assert -0.5 * 10 + first + second == pytest.approx(environment.optimum())


def test_a_battery_takes_no_more_than_fits_and_gives_no_more_than_it_has() -> None:
    environment = Battery(table("price", [10] * 20), hours=10, known_hours=1, efficiency=1.0, wear=0.0)
    environment.reset(seed=0)
    assert [environment.step(4)[1] for _ in range(5)] == pytest.approx([-2.5, -2.5, -2.5, -2.5, 0])
    assert environment.step(0)[0][0] == pytest.approx(0.75)
    assert [environment.step(0)[1] for _ in range(4)] == pytest.approx([2.5, 2.5, 2.5, 0])


def test_the_optimum_of_an_inventory_is_what_can_be_reckoned_by_hand() -> None:
    """Demand never changes: what is there lasts until orders arrive; none is made that would come too late."""
    environment = Inventory(table("demand", [20] * 40, "1d"), days=10, lead_days=2)
    environment.reset(seed=0)
    ordered = 7 * 20  # of days 0 to 6, sold on days 3 to 9
    assert environment.optimum() == pytest.approx(10 * 20 * 10.0 - ordered * 6.0)
    earned = [environment.step(2 if day < 7 else 0)[1] for day in range(10)]
    assert sum(earned) == pytest.approx(environment.optimum())


def test_an_order_arrives_after_its_lead_time_and_lost_demand_costs() -> None:
    environment = Inventory(table("demand", [0] * 14 + [30] * 20, "1d"), days=5, lead_days=2, lost=1.0, holding=0.0)
    environment.model.starts = np.array([14])
    environment.reset(seed=0)
    rewards = [environment.step(action)[1] for action in (3, 0, 0, 0, 0)]
    assert rewards == pytest.approx([-30 * 6 - 30, -30, -30, 300, -30])


@pytest.mark.parametrize(("make", "said"), [
    (lambda: Battery(table("price", [1.0] * 100)), "the table has 100 rows, and an episode needs 180"),
    (lambda: Inventory(table("demand", [1.0] * 30, "1d")), "an episode needs 70"),
    (lambda: Battery(capacity=0), "must be above 0"),
    (lambda: Battery(hours=5000), "hours"),
    (lambda: Inventory(lead_days=0), "must be above 0"),
])  # fmt: skip
def test_what_cannot_be_is_said(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_times_may_be_numbers_of_hours() -> None:
    dates = table("price", prices()[:400])
    numbers = dates.with_columns((pl.col("time") - datetime(1970, 1, 1)).dt.total_hours().cast(pl.Float64))
    assert np.array_equal(Battery(dates).reset(seed=1)[0], Battery(numbers).reset(seed=1)[0])


def test_what_a_battery_sees_of_the_future_is_what_was_announced() -> None:
    values = prices()[:400]
    environment = gymnasium.make("BatteryArbitrage-v0", table=table("price", values), known_hours=5)
    observation, _ = environment.reset(seed=2)
    row = int(environment.unwrapped._row[0])  # type: ignore[attr-defined]
    assert observation[6:] == pytest.approx(values[row : row + 5], rel=1e-6)

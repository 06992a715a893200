"""What environments that replay a table have in common.

The dynamics are written once, for many copies at a time: a `Model`. `TableEnv` is one copy behind Gymnasium's ordinary
interface, `TableVectorEnv` many behind its interface for vectors, and copy `i` of one seeded with `s` goes through the
episodes of a single one seeded with `s + i`. Chance decides only where in the table an episode begins, so what may be
earned in an episode is known when it begins.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from contract.catalogue import ColumnType

Floats = npt.NDArray[np.float64]
Observations = npt.NDArray[np.float32]
Rule = Callable[[Observations], npt.NDArray[Any]]
"""Actions of shape `[batch, *action_shape]` for observations of shape `[batch, *shape]`."""

MOST_STEPS = 1000
EPOCH = np.datetime64("1970-01-01T00:00:00", "us")


class Model(ABC):
    """The dynamics of an environment over one table, for `n` copies at a time."""

    observation_space: spaces.Space[Observations]
    action_space: spaces.Space[Any]
    steps: int
    """Of an episode."""
    starts: npt.NDArray[np.int64]
    """Rows at which an episode may begin."""

    @abstractmethod
    def begin(self, rows: npt.NDArray[np.int64]) -> Floats:
        """What is remembered of copies whose episodes begin at these rows, `[n, numbers]`."""

    @abstractmethod
    def observe(self, rows: npt.NDArray[np.int64], step: npt.NDArray[np.int64], state: Floats) -> Observations:
        """What copies see that began at `rows` and have taken `step` steps since."""

    @abstractmethod
    def advance(
        self, rows: npt.NDArray[np.int64], step: npt.NDArray[np.int64], state: Floats, actions: npt.NDArray[Any]
    ) -> Floats:
        """Act, change `state` in place, and return the rewards `[n]`."""

    @abstractmethod
    def optimum(self, row: int) -> float:
        """The highest return of an episode that begins at this row, for who knows all of it beforehand."""

    @abstractmethod
    def rules(self) -> Mapping[str, Rule]:
        """Other ways to act, by their names, that a policy should be better than; one of them does nothing."""


class TableEnv(gymnasium.Env[Observations, Any]):
    """One copy."""

    metadata = {"render_modes": []}  # noqa: RUF012 - what Gymnasium calls for
    table_columns: ClassVar[dict[str, ColumnType]]
    """Columns that the table must have besides `time`."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.observation_space = model.observation_space
        self.action_space = model.action_space
        self._row = self._step = np.zeros(1, np.int64)
        self._state = np.zeros((1, 1))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Begin somewhere in the table."""
        super().reset(seed=seed)
        self._row = _draw(self.model, self.np_random)
        self._step = np.zeros(1, np.int64)
        self._state = self.model.begin(self._row)
        return self.model.observe(self._row, self._step, self._state)[0], {}

    def step(self, action: Any) -> tuple[Observations, float, bool, bool, dict[str, Any]]:
        """Act for one row of the table."""
        rewards = self.model.advance(self._row, self._step, self._state, np.asarray(action)[None])
        self._step = self._step + 1
        ended = bool(self._step[0] >= self.model.steps)
        return self.model.observe(self._row, self._step, self._state)[0], float(rewards[0]), ended, False, {}

    def optimum(self) -> float:
        """The highest return of the episode that has just begun."""
        return self.model.optimum(int(self._row[0]))

    def rules(self) -> Mapping[str, Rule]:
        """Other ways to act, by their names."""
        return self.model.rules()


class TableVectorEnv(gymnasium.vector.VectorEnv[Observations, npt.NDArray[Any], npt.NDArray[Any]]):
    """Many copies, stepped together. A finished copy begins anew in the next step."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012 - what Gymnasium calls for

    single: ClassVar[Callable[..., TableEnv]]
    """Makes one copy."""

    def __init__(self, num_envs: int = 1, table: Any = None, **arguments: Any) -> None:
        """`arguments` are those of `single`."""
        self.model = model = self.single(table, **arguments).model
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = model.observation_space, model.action_space
        self.observation_space = batch_space(model.observation_space, num_envs)
        self.action_space = batch_space(model.action_space, num_envs)
        self._generators = [seeding.np_random()[0] for _ in range(num_envs)]
        self._rows = self._steps = np.zeros(num_envs, np.int64)
        self._state = np.zeros((num_envs, 1))
        self._finished = np.zeros(num_envs, bool)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Begin in all copies; copy `i` of a seed `s` is seeded with `s + i`."""
        seeds = [seed + copy for copy in range(self.num_envs)] if isinstance(seed, int) else seed
        for copy, one in enumerate(seeds or []):
            if one is not None:
                self._generators[copy] = seeding.np_random(one)[0]
        self._rows = np.concatenate([_draw(self.model, generator) for generator in self._generators])
        self._steps = np.zeros(self.num_envs, np.int64)
        self._state = self.model.begin(self._rows)
        self._finished = np.zeros(self.num_envs, bool)
        return self.model.observe(self._rows, self._steps, self._state), {}

    def step(
        self, actions: npt.NDArray[Any]
    ) -> tuple[Observations, Floats, npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]]:
        """Act in all copies; in those that had finished, begin instead."""
        before = np.flatnonzero(self._finished)
        observations, rewards, ended = self.advance(actions)
        if len(before):
            observations[before] = self.restart(before)
            rewards[before], ended[before] = 0.0, False
        self._finished = ended
        return observations, rewards, ended, np.zeros(self.num_envs, bool), {}

    def advance(self, actions: npt.NDArray[Any]) -> tuple[Observations, Floats, npt.NDArray[np.bool_]]:
        """Act in all copies: observations, rewards, and whether each has ended."""
        rewards = self.model.advance(self._rows, self._steps, self._state, np.asarray(actions))
        self._steps = self._steps + 1
        ended = self._steps >= self.model.steps
        return self.model.observe(self._rows, self._steps, self._state), rewards, ended

    def restart(self, copies: npt.NDArray[np.intp]) -> Observations:
        """Begin new episodes in some copies; their first observations."""
        rows = np.concatenate([_draw(self.model, self._generators[copy]) for copy in copies])
        self._rows[copies], self._steps[copies] = rows, 0
        self._state[copies] = self.model.begin(rows)
        return self.model.observe(rows, self._steps[copies], self._state[copies])

    def close_extras(self, **_: Any) -> None:
        """Nothing is open."""


def check_length(steps: int, name: str) -> None:
    """An episode of so many steps is not cut short by the limit of environments that have none of their own.

    Raises:
        ValueError: it would be.
    """
    if not 1 <= steps <= MOST_STEPS:
        raise ValueError(f"{name} must be from 1 to {MOST_STEPS}")


def starts_in(rows: int, *, needed: int, apart: int) -> npt.NDArray[np.int64]:
    """Rows at which an episode may begin that needs so many rows from there on.

    Raises:
        ValueError: there are too few.
    """
    if rows < needed:
        raise ValueError(f"the table has {rows:,} rows, and an episode needs {needed:,}: give more, or hold out more")
    return np.arange(0, rows - needed + 1, apart, dtype=np.int64)


def hours_of(table: Any) -> Floats:
    """The time of each row in hours since the epoch, from dates or from numbers of hours."""
    times = table["time"].to_numpy()
    if np.issubdtype(times.dtype, np.datetime64):
        hours: Floats = (times - EPOCH) / np.timedelta64(1, "h")
        return hours
    return np.asarray(times, dtype=np.float64)


def circle(values: Floats, period: float) -> Floats:
    """Sine and cosine of a place in a period, `[n, 2]`: its end lies beside its beginning."""
    angle = 2 * np.pi * values / period
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1)


def _draw(model: Model, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    return model.starts[generator.integers(len(model.starts), size=1)]

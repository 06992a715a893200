"""What a policy would earn, from a log of what others did: fitted Q evaluation, without a step in an environment.

Values are linear in features of observation and action: one-hot where both are choices of few, else random Fourier
features (Rahimi and Recht, 2007), drawn several times. What the iteration ends at then solves linear equations (least
squares, Lagoudakis and Parr, 2003). Off its own data, though, it may diverge, and then their solution means nothing.
So the ridge is raised until fitting contracts about as the true values do, which pulls them towards 0.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from contract.dataset import MIN_JUDGING_EPISODES
from contract.verdict import OffPolicy
from training_image.trainer.envs import observations as batches
from training_image.trainer.learning import logged
from training_image.trainer.learning.logged import Log
from training_image.trainer.policies.evaluation import Policy
from training_image.trainer.storage import Storage

MOST_TRANSITIONS = 100_000
BLOCKS = 64
"""Into which episodes are put together to be resampled."""
RESAMPLES = 400
FEATURES = 256
DRAWS = 4
"""How often random features are drawn; the median counts, and the interval has what they differ by."""
BANDWIDTH = 1.0
"""In medians of the distance between two of the log's actions in their observations."""
MOST_CELLS = 256
"""Pairs of observation and action up to which each has a value of its own."""
SLACK = 0.1
"""True values contract by the discount factor; fitted ones may more slowly, by this share of what it lacks to 1."""
_AT_ONCE = 8192

Floats = npt.NDArray[np.float64]


def held_out(
    policy: Policy,
    rows: Storage,
    observation_space: spaces.Space[Any],
    action_space: spaces.Space[Any],
    *,
    gamma: float,
    confidence: float,
) -> OffPolicy | None:
    """The estimate on prepared transitions; None where there are too few of them."""
    log = read(rows, observation_space, action_space)
    if log is None:
        return None
    return estimate(policy, log, observation_space, action_space, gamma=gamma, confidence=confidence)


def read(rows: Storage, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> Log | None:
    """Prepared transitions; None where there are none."""
    if not any(key.endswith(".parquet") for key in rows.keys("")):
        return None
    return logged.read(rows.uri, observation_space, action_space)


def estimate(
    policy: Policy,
    log: Log,
    observation_space: spaces.Space[Any],
    action_space: spaces.Space[Any],
    *,
    gamma: float,
    confidence: float,
    seed: int = 0,
) -> OffPolicy | None:
    """The discounted return of a policy from the states in which the logged episodes began. The same arguments give the
    same numbers; None where the log cannot tell."""
    if not can_tell(log):
        return None
    estimator = Estimator(log, observation_space, action_space, gamma=gamma, seed=seed)
    return estimator.describe(estimator.of(policy), confidence)


def can_tell(log: Log) -> bool:
    """Whether a log has `MIN_JUDGING_EPISODES`, and shows at least once what came next."""
    return len(np.unique(log.episode)) >= MIN_JUDGING_EPISODES and bool(log.follows.any())


@dataclass(frozen=True, kw_only=True)
class Worth:
    """What a policy is estimated to earn, and the estimates with the episodes resampled."""

    estimate: float
    resampled: Floats

    def interval(self, confidence: float) -> tuple[float, float]:
        """Both ends of the two-sided percentile interval."""
        low, high = np.quantile(self.resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high)

    def lower_bound(self, confidence: float) -> float:
        """Lower end of the one-sided percentile interval."""
        return float(np.quantile(self.resampled, 1 - confidence))

    def lead_over(self, other: "Worth") -> "Worth":
        """How much more this policy earns than another that was valued by the same estimator."""
        return Worth(estimate=self.estimate - other.estimate, resampled=self.resampled - other.resampled)


class Estimator:
    """Values policies on one log (`can_tell`), all with the same features and resamples: they can be compared."""

    def __init__(
        self,
        log: Log,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        *,
        gamma: float,
        seed: int = 0,
    ) -> None:
        self.log = log = _few_enough(log, seed)
        """The episodes that are used."""
        self._space, self._gamma = observation_space, gamma
        self._begins = np.flatnonzero(np.diff(log.episode, prepend=-1))
        self.episodes = len(self._begins)
        self._block = np.arange(self.episodes) * min(BLOCKS, self.episodes) // self.episodes
        self._used = np.flatnonzero(log.follows)
        blocks, tabular = int(self._block[-1]) + 1, _is_tabular(observation_space, action_space)
        self._draws: list[tuple[_Fourier | _Cells, Floats]] = []
        for draw in range(1 if tabular else DRAWS):
            generator = np.random.default_rng([seed, draw])
            there = log.observations[self._used], log.actions[self._used]
            features = (
                _Cells(observation_space, action_space)
                if tabular
                else _Fourier(*there, observation_space, action_space, generator)
            )
            count = RESAMPLES if tabular else RESAMPLES // DRAWS
            drawn = generator.multinomial(blocks, np.full(blocks, 1 / blocks), size=count).astype(np.float64)
            self._draws.append((features, drawn))

    def of(self, policy: Policy) -> Worth:
        """What a policy would earn."""
        met, first = self.log.next_observations[self._used], self.log.observations[self._begins]
        return self._worth(self._used, _acts(policy, met, self._space), _acts(policy, first, self._space))

    def of_the_log(self) -> Worth | None:
        """What those who acted in the log would earn, going on as they did; None where no action of theirs follows
        another, nor an end."""
        log = self.log
        goes_on = np.append(log.episode[1:] == log.episode[:-1], False)
        used = self._used[(goes_on | log.terminated)[self._used]]
        if not len(used):
            return None
        then = np.where(goes_on[used], used + 1, used)  # after the end it does not matter
        return self._worth(used, log.actions[then], log.actions[self._begins])

    def describe(self, worth: Worth, confidence: float) -> OffPolicy:
        """What there is to know of a policy's estimate."""
        own = self.of_the_log()
        return OffPolicy(
            method="fitted Q evaluation",
            gamma=self._gamma,
            estimate=worth.estimate,
            interval=worth.interval(confidence),
            lower_bound=worth.lower_bound(confidence),
            confidence=confidence,
            log_return=float(self.log.outcomes(self._gamma)[self._begins].mean()),
            log_estimate=None if own is None else own.estimate,
            episodes=self.episodes,
            transitions=len(self._used),
        )

    def _worth(self, used: npt.NDArray[np.int64], then: npt.NDArray[Any], first: npt.NDArray[Any]) -> Worth:
        """Of who does `then` after each of the used transitions, and `first` in the beginning."""
        log, gamma = self.log, self._gamma
        taken = {
            "there": (log.observations[used], log.actions[used]),
            "next": (log.next_observations[used], then),
            "first": (log.observations[self._begins], first),
        }
        rewards = log.rewards[used].astype(np.float64)
        bounds = _bounds(rewards, gamma)
        values, resampled = [], []
        for features, drawn in self._draws:
            sums = _Sums(features, taken, self._block[log.episode[used]], self._block, rewards, ~log.terminated[used])
            ridge = _contracting(sums, gamma, len(used))
            values.append(float(sums.values(np.ones((1, len(sums.firsts))), gamma, ridge)[0]))
            resampled.append(sums.values(drawn, gamma, ridge))
        return Worth(estimate=float(np.median(values).clip(*bounds)), resampled=np.concatenate(resampled).clip(*bounds))


def sentence(found: OffPolicy) -> str:
    """What there is to say of it beside a verdict."""
    low, high = found.interval
    return (
        f" From {found.episodes:,} held-out episodes of the log alone its return, discounted by {found.gamma:g}, is "
        f"estimated to be {found.estimate:.4g}, from {low:.4g} to {high:.4g} with {100 * found.confidence:g} % "
        f"confidence; the log's own is {found.log_return:.4g}."
    )


class _Fourier:
    """Random features of an observation and an action together, and a constant."""

    def __init__(
        self,
        observations: npt.NDArray[Any],
        actions: npt.NDArray[Any],
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        generator: np.random.Generator,
    ) -> None:
        self._spaces = observation_space, action_space
        self._mean, self._scale = np.zeros(0), np.ones(0)
        some = generator.integers(len(actions), size=2 * min(len(actions), 2000))
        numbers = self._numbers(observations[some], actions[some])
        continuous = np.concatenate([np.full(_width(space), isinstance(space, spaces.Box)) for space in self._spaces])
        self._mean = np.where(continuous, numbers.mean(axis=0), 0.0)
        deviation = numbers.std(axis=0)
        self._scale = np.where(continuous & (deviation > 0), deviation, 1.0)
        scaled = (numbers - self._mean) / self._scale
        half = len(scaled) // 2
        apart = np.linalg.norm(scaled[:half] - scaled[half:], axis=1)
        width = BANDWIDTH * (float(np.median(apart[apart > 0])) if (apart > 0).any() else 1.0)
        self._directions = generator.standard_normal((scaled.shape[1], FEATURES)) / width
        self._phases = generator.uniform(0, 2 * np.pi, FEATURES)

    def __call__(self, observations: npt.NDArray[Any], actions: npt.NDArray[Any]) -> Floats:
        scaled = (self._numbers(observations, actions) - self._mean) / self._scale
        waves = np.sqrt(2 / FEATURES) * np.cos(scaled @ self._directions + self._phases)
        return np.concatenate([waves, np.ones((len(waves), 1))], axis=1)

    def _numbers(self, observations: npt.NDArray[Any], actions: npt.NDArray[Any]) -> Floats:
        pairs = zip((observations, actions), self._spaces, strict=True)
        return np.concatenate([_numbers(values, space) for values, space in pairs], axis=1)


class _Cells:
    """One feature for each pair of an observation and an action."""

    def __init__(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
        self._spaces = observation_space, action_space

    def __call__(self, observations: npt.NDArray[Any], actions: npt.NDArray[Any]) -> Floats:
        seen, done = (
            _numbers(values, space) for values, space in zip((observations, actions), self._spaces, strict=True)
        )
        cells: Floats = (seen[:, :, None] * done[:, None, :]).reshape(len(seen), -1)
        return cells


class _Sums:
    """What the equations need of each block of episodes."""

    def __init__(
        self,
        features: _Fourier | _Cells,
        taken: dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]],
        block: npt.NDArray[np.int64],
        block_of_first: npt.NDArray[np.int64],
        rewards: Floats,
        goes_on: npt.NDArray[np.bool_],
    ) -> None:
        first = features(*taken["first"])
        count, size = int(block_of_first[-1]) + 1, first.shape[1]
        self.firsts = np.bincount(block_of_first, minlength=count).astype(np.float64)
        self._first = np.zeros((count, size))
        np.add.at(self._first, block_of_first, first)
        self.met, self.next = np.zeros((count, size, size)), np.zeros((count, size, size))
        self._rewards = np.zeros((count, size))
        for number in range(count):
            begin, end = np.searchsorted(block, [number, number + 1])
            for start in range(begin, end, _AT_ONCE):
                rows = slice(start, min(start + _AT_ONCE, end))
                there = features(*(part[rows] for part in taken["there"]))
                after = features(*(part[rows] for part in taken["next"])) * goes_on[rows, None]
                self.met[number] += there.T @ there
                self.next[number] += there.T @ after
                self._rewards[number] += there.T @ rewards[rows]

    def values(self, times: Floats, gamma: float, ridge: float) -> Floats:
        """The value of the first states when block `j` is there `times[i, j]` times, for each `i`."""
        size = self.met.shape[1]
        blocks = (self.met - gamma * self.next).reshape(len(self.met), -1)
        found = []
        for each in times:
            equations = (each @ blocks).reshape(size, size) + ridge * np.eye(size)
            weights = np.linalg.solve(equations, each @ self._rewards)
            found.append((each @ self._first @ weights) / (each @ self.firsts))
        return np.array(found)


def _contracting(sums: _Sums, gamma: float, transitions: int) -> float:
    """The smallest ridge of a ladder with which fitting again and again comes to rest fast enough, by its spectral
    radius. There is one: with ever more of it nothing is left of what is fitted."""
    met, after = sums.met.sum(axis=0), gamma * sums.next.sum(axis=0)
    ridge = 1e-6 * transitions
    slowest = min(gamma + (1 - gamma) * SLACK, 1 - 1e-4)
    while np.abs(np.linalg.eigvals(np.linalg.solve(met + ridge * np.eye(len(met)), after))).max() > slowest:
        ridge *= np.sqrt(10)
    return float(ridge)


def _few_enough(log: Log, seed: int) -> Log:
    """Whole episodes of a log, drawn at random, of about `MOST_TRANSITIONS` together."""
    if len(log) <= MOST_TRANSITIONS:
        return log
    lengths = np.bincount(log.episode)
    order = np.random.default_rng(seed).permutation(len(lengths))
    most = max(MIN_JUDGING_EPISODES, int(np.searchsorted(np.cumsum(lengths[order]), MOST_TRANSITIONS, side="right")))
    kept = np.isin(log.episode, order[:most])
    parts = {field.name: getattr(log, field.name)[kept] for field in dataclasses.fields(log)}
    return Log(**parts | {"episode": np.unique(parts["episode"], return_inverse=True)[1].astype(np.int64)})


def _acts(policy: Policy, observations: npt.NDArray[Any], space: spaces.Space[Any]) -> npt.NDArray[Any]:
    parts = [
        policy.act(batches.as_input(observations[start : start + _AT_ONCE], space))
        for start in range(0, len(observations), _AT_ONCE)
    ]
    return np.concatenate(parts)


def _bounds(rewards: Floats, gamma: float) -> tuple[float, float]:
    """What a discounted return cannot leave when no reward leaves the log's; none where nothing is discounted."""
    if gamma == 1:
        return -np.inf, np.inf
    return min(0.0, float(rewards.min())) / (1 - gamma), max(0.0, float(rewards.max())) / (1 - gamma)


def _is_tabular(observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> bool:
    return (
        isinstance(observation_space, spaces.Discrete)
        and isinstance(action_space, spaces.Discrete)
        and int(observation_space.n * action_space.n) <= MOST_CELLS
    )


def _width(space: spaces.Space[Any]) -> int:
    """How many numbers `_numbers` makes of a value."""
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.MultiDiscrete):
        return int(np.sum(space.nvec))
    return int(np.prod(space.shape or ()))


def _numbers(values: npt.NDArray[Any], space: spaces.Space[Any]) -> Floats:
    """Values of a space as numbers, `[n, width]`, one-hot where they are choices."""
    if isinstance(space, spaces.Discrete):
        return np.eye(int(space.n))[values.reshape(-1).astype(np.int64) - int(space.start)]
    flat = values.reshape(len(values), -1)
    if isinstance(space, spaces.MultiDiscrete):
        choices = [np.eye(int(n))[flat[:, index].astype(np.int64)] for index, n in enumerate(space.nvec.reshape(-1))]
        return np.concatenate(choices, axis=1)
    return flat.astype(np.float64)

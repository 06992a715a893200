"""Many copies of an environment, as Stable-Baselines3 wants them."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

from contract.run import EnvironmentSection
from training_image.trainer.envs import environments
from training_image.trainer.envs.native import NativeVecEnv
from training_image.trainer.errors import UsageError


def test_native_form_where_gymnasium_has_one() -> None:
    assert isinstance(environments.make(EnvironmentSection(id="CartPole-v1"), 4), NativeVecEnv)
    assert isinstance(environments.make(EnvironmentSection(id="Acrobot-v1"), 4), DummyVecEnv)


def test_native_steps_equal_single_ones() -> None:
    """Every episode, step for step, against Gymnasium's own single environment begun in the same state."""
    native = environments.make(EnvironmentSection(id="CartPole-v1"), 3)
    native.seed(7)
    observations = np.asarray(native.reset())
    assert isinstance(native, NativeVecEnv)
    singles = [gymnasium.make("CartPole-v1") for _ in range(3)]
    generator = np.random.default_rng(0)
    finished = 0

    def begin(copy: int) -> None:
        singles[copy].reset(seed=0)
        singles[copy].unwrapped.state = native._environment.state[:, copy].copy()  # type: ignore[attr-defined]

    for copy in range(3):
        begin(copy)
    for _ in range(300):
        actions = generator.integers(0, 2, size=3)
        observations, rewards, dones, infos = native.step(actions)
        for copy in range(3):
            expected, reward, terminated, truncated, _ = singles[copy].step(actions[copy])
            assert dones[copy] == (terminated or truncated)
            assert rewards[copy] == reward
            if dones[copy]:
                finished += 1
                np.testing.assert_array_equal(infos[copy]["terminal_observation"], expected)
                assert infos[copy]["TimeLimit.truncated"] == (truncated and not terminated)
                assert np.abs(observations[copy]).max() <= 0.05  # the next episode has begun in the same step
                begin(copy)
            else:
                np.testing.assert_array_equal(observations[copy], expected)
    assert finished > 20


class Reusing(gymnasium.Env[np.ndarray, int]):
    """Gives the same array and the same info again and again, as fast environments do."""

    observation_space = gymnasium.spaces.Box(0, 10, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self) -> None:
        self._seen = np.zeros(1, np.float32)
        self._said = {"seen": self._seen}

    def reset(self, *, seed: int | None = None, options: object = None) -> tuple[np.ndarray, dict[str, Any]]:
        self._seen[:] = 0
        self._said = {"seen": self._seen}
        return self._seen, {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._seen += 1
        return self._seen.copy() if self._seen == 3 else self._seen, 1.0, bool(self._seen == 3), False, self._said


def test_how_an_episode_ended_is_kept_whatever_the_environment_does_next() -> None:
    gymnasium.register("Reusing-v0", Reusing)
    try:
        made = environments.make(EnvironmentSection(id="Reusing-v0"), 2)
    finally:
        del gymnasium.registry["Reusing-v0"]
    made.reset()
    steps = [made.step(np.zeros(2, int)) for _ in range(5)]
    said = [[info.get("terminal_observation") for info in infos] for _, _, _, infos in steps]
    assert [observations.ravel().tolist() for observations, *_ in steps] == [[1, 1], [2, 2], [0, 0], [1, 1], [2, 2]]
    assert said == [[None, None], [None, None], [[3], [3]], [None, None], [None, None]]
    assert steps[2][3][0]["episode"]["l"] == 3
    assert steps[2][3][0]["seen"] == 0  # as it was when the next episode had just begun


def test_native_episodes_report_return_length_and_time_limit() -> None:
    native = environments.make(EnvironmentSection(id="CartPole-v0"), 2)
    native.seed(3)
    observations = np.asarray(native.reset())
    episodes = []
    for _ in range(450):
        # A hand-made balancing rule, good for more than 200 steps.
        _, velocity, angle, rotation = observations.T
        actions = (angle + 0.3 * rotation + 0.05 * velocity > 0).astype(np.int64)
        observations, _, dones, infos = native.step(actions)
        episodes += [infos[copy] for copy in np.flatnonzero(dones)]
    assert len(episodes) >= 4
    for info in episodes:
        assert info["TimeLimit.truncated"]
        assert (info["episode"]["r"], info["episode"]["l"]) == (200.0, 200)


def test_the_same_seed_gives_the_same_episodes() -> None:
    for name in ("CartPole-v1", "Acrobot-v1"):
        firsts = []
        for seed in (1, 1, 2):
            environment = environments.make(EnvironmentSection(id=name), 2)
            environment.seed(seed)
            firsts.append(np.asarray(environment.reset()))
        np.testing.assert_array_equal(firsts[0], firsts[1])
        assert not np.array_equal(firsts[0], firsts[2])


def test_constructor_arguments_reach_the_environment() -> None:
    penalised = environments.make(EnvironmentSection(id="CartPole-v1", kwargs={"sutton_barto_reward": True}), 1)
    penalised.reset()
    assert penalised.step(np.array([0]))[1][0] == 0
    slippery = environments.make(EnvironmentSection(id="FrozenLake-v1", kwargs={"map_name": "8x8"}), 1)
    assert slippery.observation_space.n == 64  # type: ignore[attr-defined]


def test_an_environment_without_a_time_limit_gets_one() -> None:
    walk = environments.make(EnvironmentSection(id="CliffWalking-v1"), 1)
    walk.reset()
    lengths = []
    for _ in range(environments.TIME_LIMIT):
        _, _, dones, infos = walk.step(np.array([3]))  # left, into the wall, for ever
        if dones[0]:
            lengths.append(infos[0]["episode"]["l"])
    assert lengths == [environments.TIME_LIMIT]


def test_one_that_cannot_be_built_is_refused_with_the_reason() -> None:
    with pytest.raises(UsageError, match=r"FrozenLake-v1 cannot be built.*nowhere"):
        environments.make(EnvironmentSection(id="FrozenLake-v1", kwargs={"map_name": "nowhere"}), 1)


class Grudge(gymnasium.Env[int, int]):
    """Remembers, against Gymnasium's rules, how often it was played."""

    observation_space = gymnasium.spaces.Discrete(1000)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self) -> None:
        self._played = 0

    def reset(self, *, seed: int | None = None, options: object = None) -> tuple[int, dict[str, object]]:
        super().reset(seed=seed)
        self._played += 1
        return self._played, {"action_mask": np.array([self._played % 2, 1], dtype=np.int8)}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, object]]:
        return 0, 0.0, True, False, {"action_mask": np.array([1, 0], dtype=np.int8)}


def test_a_seed_decides_everything_whatever_was_played_before() -> None:
    environment = environments.FreshOnSeed(Grudge)
    assert [environment.reset(seed=1)[0], environment.reset()[0], environment.reset()[0]] == [1, 2, 3]
    assert [environment.reset(seed=1)[0], environment.reset()[0]] == [1, 2]


def test_valid_actions_are_those_of_the_last_observation() -> None:
    environment = environments.ValidActions(Grudge())
    environment.reset()
    assert environment.action_masks().tolist() == [True, True]
    environment.step(0)
    assert environment.action_masks().tolist() == [True, False]
    environment.reset()
    assert environment.action_masks().tolist() == [False, True]


@pytest.mark.parametrize("environment_id", ["CartPole-v1", "Pendulum-v1"])
def test_frames_are_stacked_the_newest_last_and_forgotten_when_an_episode_ends(environment_id: str) -> None:
    single, stacked = (
        environments.make(EnvironmentSection(id=environment_id, frame_stack=frames), 2) for frames in (1, 3)
    )
    size = single.observation_space.shape[0]  # type: ignore[index]
    for environment in (single, stacked):
        environment.seed(3)
    single.action_space.seed(3)
    window = np.concatenate([np.zeros((2, 2 * size)), np.asarray(single.reset())], axis=1)
    np.testing.assert_array_equal(np.asarray(stacked.reset()), window)
    for _ in range(300):
        actions = np.stack([single.action_space.sample() for _ in range(2)])
        seen, _, dones, _ = single.step(actions)
        window[dones] = 0
        window = np.concatenate([window[:, size:], np.asarray(seen)], axis=1)
        np.testing.assert_array_equal(np.asarray(stacked.step(actions)[0]), window)

"""What a log alone says of a policy, held against what the policy truly earns."""

import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from gymnasium import spaces

from contract.outcomes import ExitCode
from contract.verdict import OffPolicy, Verdict
from tests.unit.training_image.helpers import ROOT, script, write_run
from training_image import prepare_data, train_rl, validate_rl
from training_image.trainer.envs.observations import Batch
from training_image.trainer.learning import logged
from training_image.trainer.learning.logged import Log
from training_image.trainer.storage import LocalStorage
from training_image.trainer.verdict import off_policy

GAMMA = 0.99
CARTPOLE = gymnasium.make("CartPole-v1")


class Acting:
    """A function as a policy."""

    def __init__(self, chooses: Any) -> None:
        self._chooses = chooses

    def act(self, observations: Batch) -> npt.NDArray[Any]:
        actions: npt.NDArray[Any] = np.asarray(self._chooses(observations)).astype(np.int64)
        return actions


class Constant:
    """A policy that does the same everywhere."""

    def __init__(self, action: float) -> None:
        self._action = action

    def act(self, observations: Batch) -> npt.NDArray[Any]:
        return np.full((len(observations), 2), self._action, np.float32)


HANDS = {
    "always left": Acting(lambda seen: np.zeros(len(seen))),
    "where it leans": Acting(lambda seen: seen[:, 2] > 0),
    "where it falls": Acting(lambda seen: seen @ np.array([0.03, 0.08, 1, 0.4]) > 0),
}
"""The last one never lets the pole fall."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "data"
    assert prepare_data.main(["--experiment", str(ROOT / "examples/offline_cartpole"), "--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def held_out(prepared: Path) -> Log:
    return logged.read(str(prepared / "held_out"), CARTPOLE.observation_space, CARTPOLE.action_space)


def of_cartpole(hand: Acting, log: Log) -> OffPolicy:
    spaces_ = CARTPOLE.observation_space, CARTPOLE.action_space
    found = off_policy.estimate(hand, log, *spaces_, gamma=GAMMA, confidence=0.95)
    assert found is not None
    return found


def true_value(hand: Acting) -> float:
    """Mean discounted return of episodes in the environment."""
    returns = []
    for episode in range(40):
        seen, _ = CARTPOLE.reset(seed=1000 + episode)
        earned, discount, over = 0.0, 1.0, False
        while not over:
            seen, reward, terminated, truncated, _ = CARTPOLE.step(int(hand.act(seen[None])[0]))
            earned, discount, over = earned + discount * float(reward), discount * GAMMA, terminated or truncated
        returns.append(earned)
    return float(np.mean(returns))


def corridor(episodes: int, seed: int = 0) -> Log:
    """A walk of random steps along five places, the last of which ends it with a reward of 1. Steps slip backwards one
    time in five."""
    generator = np.random.default_rng(seed)
    rows = []
    for episode in range(episodes):
        place, over = 0, False
        while not over:
            action = int(generator.integers(2))
            forward = (action == 1) != (generator.random() < 0.2)
            then = min(place + 1, 4) if forward else max(place - 1, 0)
            over = then == 4
            rows.append((place, action, float(over), then, over, episode))
            place = then
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return Log(
        observations=columns[0],
        actions=columns[1],
        rewards=columns[2].astype(np.float32),
        next_observations=columns[3],
        terminated=columns[4].astype(bool),
        follows=np.ones(len(rows), bool),
        episode=columns[5],
    )


def test_where_all_can_be_counted_the_estimate_is_the_exact_value_within_its_interval() -> None:
    # V = P V + r of who always walks forward, by its definition
    step = np.zeros((4, 4))
    reward = np.array([0, 0, 0, 0.8])
    for place in range(4):
        step[place, max(place - 1, 0)] += 0.2
        if place < 3:
            step[place, place + 1] += 0.8
    exact = np.linalg.solve(np.eye(4) - 0.9 * step, reward)[0]
    forward = Acting(lambda seen: np.ones(len(seen)))
    places, ways = spaces.Discrete(5), spaces.Discrete(2)
    found = off_policy.estimate(forward, corridor(2000), places, ways, gamma=0.9, confidence=0.95)
    assert found is not None
    assert found.estimate == pytest.approx(exact, abs=0.02)
    assert found.interval[0] < exact < found.interval[1] < found.interval[0] + 0.05
    assert found.log_return < exact - 0.2
    few = off_policy.estimate(forward, corridor(50), places, ways, gamma=0.9, confidence=0.95)
    assert few is not None
    assert few.interval[1] - few.interval[0] > 2 * (found.interval[1] - found.interval[0])


def test_policies_stand_in_their_true_order_and_near_their_true_values(held_out: Log) -> None:
    found = {name: of_cartpole(hand, held_out) for name, hand in HANDS.items()}
    true = {name: true_value(hand) for name, hand in HANDS.items()}
    estimates = [found[name].estimate for name in HANDS]
    assert estimates == sorted(estimates)
    for name, one in found.items():
        assert one.estimate == pytest.approx(true[name], abs=20), name
        assert one.interval[0] <= true[name] <= one.interval[1], name
        assert one.log_return == pytest.approx(37.05, abs=0.01)
    assert found["always left"].interval[1] < found["always left"].log_return < found["where it falls"].estimate
    assert found["always left"].interval[1] < found["where it falls"].interval[0]


def test_the_same_log_gives_the_same_bytes(held_out: Log) -> None:
    hand = HANDS["where it leans"]
    assert of_cartpole(hand, held_out).model_dump_json() == of_cartpole(hand, held_out).model_dump_json()


def test_of_a_log_too_long_whole_episodes_are_drawn_and_of_one_too_short_nothing_is_said(
    held_out: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = HANDS["where it falls"]
    monkeypatch.setattr(off_policy, "MOST_TRANSITIONS", 1000)
    some = of_cartpole(hand, held_out)
    assert 8 <= some.episodes < 32
    assert some.transitions <= 1000
    places, ways = spaces.Discrete(5), spaces.Discrete(2)
    assert off_policy.estimate(hand, corridor(7), places, ways, gamma=0.9, confidence=0.95) is None


def test_actions_that_are_numbers_are_judged_too() -> None:
    """The reward is minus the square of the action, whatever is seen."""
    generator = np.random.default_rng(0)
    box = spaces.Box(-1, 1, (2,), np.float32)
    actions = generator.uniform(-1, 1, (800, 2)).astype(np.float32)
    log = Log(
        observations=generator.uniform(-1, 1, (800, 2)).astype(np.float32),
        actions=actions,
        rewards=-(actions**2).sum(axis=1),
        next_observations=generator.uniform(-1, 1, (800, 2)).astype(np.float32),
        terminated=np.tile(np.arange(10) == 9, 80),
        follows=np.ones(800, bool),
        episode=np.repeat(np.arange(80), 10),
    )
    for to in (0.0, 0.5):
        found = off_policy.estimate(Constant(to), log, box, box, gamma=0.9, confidence=0.95)
        assert found is not None
        true = -2 * to**2 / (1 - 0.9 * 0.9)  # one step in ten is the last
        assert found.estimate == pytest.approx(true, abs=0.3)
        assert found.interval[0] <= true <= found.interval[1]
        assert found.estimate > found.log_return + 1


def test_verdict_and_report_of_a_run_on_a_log_have_the_estimate_and_by_hand_it_is_said(prepared: Path) -> None:
    folder = prepared.parent
    write_run(
        folder,
        environment={"id": "CartPole-v1"},
        algorithm={"name": "bc", "hyperparameters": {"net_arch": [8]}},
        timesteps=300,
        data={"kind": "transitions"},
        validation={"episodes": 8, "min_return": 10},
    )
    assert train_rl.main(["--run", str(folder), "--seed", "0"]) == 0
    assert validate_rl.main(["--run", str(folder)]) == 0
    first = (folder / "validation" / "verdict.json").read_bytes()
    verdict = Verdict.model_validate_json(first)
    found = verdict.off_policy
    assert found is not None
    assert (found.gamma, found.episodes, found.confidence) == (0.99, 32, verdict.confidence)
    assert off_policy.sentence(found) in verdict.reason
    report = (folder / "validation" / "report.html").read_text()
    assert "What the log alone says" in report
    assert "It rests on 2,23" in report
    assert validate_rl.main(["--run", str(folder)]) == 0
    assert (folder / "validation" / "verdict.json").read_bytes() == first

    by_hand = ["--model", str(folder / "seed-0"), "--episodes", "4", "--json"]
    told = script("validate_rl.py", *by_hand, "--data", str(prepared))
    assert told.returncode == 0, told.stderr
    summary = json.loads(told.stdout)["off_policy"]
    assert summary["estimate"] == pytest.approx(found.estimate, rel=0.05)
    assert "of the log alone" in told.stderr
    refused = script("validate_rl.py", *by_hand, "--data", str(folder / "validation"))
    assert refused.returncode == ExitCode.USAGE
    assert "at least 8 held-out episodes are needed" in refused.stderr


def test_a_run_whose_log_has_nothing_held_out_is_judged_without_it(tmp_path: Path) -> None:
    pl.DataFrame({"unrelated": [1]}).write_csv(tmp_path / "notes.csv")
    found = off_policy.held_out(
        HANDS["always left"],
        LocalStorage(tmp_path),
        CARTPOLE.observation_space,
        CARTPOLE.action_space,
        gamma=GAMMA,
        confidence=0.95,
    )
    assert found is None

"""What validation decides, and what it leaves behind."""

import io
import json
import tarfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.episodes import EpisodesDocument
from contract.events import decode
from contract.outcomes import ExitCode
from contract.policy import Golden, Policy
from contract.run import EnvironmentSection
from contract.verdict import Verdict
from tests.unit.training_image.helpers import SMALL, Recorder, write_run
from training_image import train_rl, validate_rl
from training_image.trainer.envs import environments
from training_image.trainer.monitoring.evaluations import SEEDS as EVALUATION_SEEDS
from training_image.trainer.policies.archive import pack
from training_image.trainer.policies.evaluation import HELD_OUT_SEEDS, MOST_OBSERVATIONS, Episodes, play
from training_image.trainer.policies.model import read
from training_image.trainer.policies.served import ServedPolicy
from training_image.trainer.recovery.segments import segment_seed
from training_image.trainer.storage import LocalStorage
from training_image.trainer.verdict import validation
from training_image.trainer.verdict.judging import judge
from training_image.trainer.verdict.validation import choosing_seeds, judging_seeds


@pytest.fixture(scope="module")
def validated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two seeds, trained and validated."""
    folder = tmp_path_factory.mktemp("run")
    hyperparameters = SMALL | {"learning_rate": 3e-3}
    write_run(
        folder,
        seeds=[1, 5],
        algorithm={"hyperparameters": hyperparameters},
        validation={"episodes": 40, "min_return": 30},
    )
    for seed in ("1", "5"):
        assert train_rl.main(["--run", str(folder), "--seed", seed]) == 0
    assert validate_rl.main(["--run", str(folder)]) == 0
    return folder


def read_verdict(folder: Path) -> Verdict:
    return Verdict.model_validate_json((folder / "validation" / "verdict.json").read_text())


def test_the_verdict_names_the_best_seed_and_its_figures(validated: Path) -> None:
    verdict = read_verdict(validated)
    assert verdict.seed == int(max(verdict.candidates, key=lambda seed: verdict.candidates[seed]))
    assert set(verdict.candidates) == {"1", "5"}
    assert verdict.episodes == 40
    assert verdict.onnx_observations >= 10_000
    assert verdict.min_episode_return <= verdict.lower_bound <= verdict.mean_return <= verdict.max_episode_return
    assert verdict.passed == (verdict.lower_bound >= 30)
    assert verdict.off_policy is None, "it learnt from no log"


def test_validating_again_gives_the_same_bytes(validated: Path) -> None:
    names = ("verdict.json", "golden.json", "report.html", "episodes.json")
    files = ["model.tar.gz", *(f"validation/{name}" for name in names)]
    before = [(validated / name).read_bytes() for name in files]
    assert validate_rl.main(["--run", str(validated)]) == 0
    assert [(validated / name).read_bytes() for name in files] == before


def test_the_archive_holds_policy_document_and_golden_at_its_top(validated: Path) -> None:
    with tarfile.open(validated / "model.tar.gz") as archive:
        assert archive.getnames() == ["golden.json", "policy.json", "policy.onnx"]
        document = json.load(archive.extractfile("policy.json"))  # type: ignore[arg-type]
        golden = archive.extractfile("golden.json").read()  # type: ignore[union-attr]
    assert golden == (validated / "validation" / "golden.json").read_bytes()
    assert document["run_id"] == "small-0123456789ab"
    assert document["observation_space"]["shape"] == [4]
    assert document["action_space"] == {"type": "Discrete", "shape": [], "dtype": "int64", "n": 2, "start": 0}
    assert document["verdict"] == read_verdict(validated).model_dump(mode="json")


def test_the_policy_document_knows_how_observations_were_distributed(validated: Path) -> None:
    with tarfile.open(validated / "model.tar.gz") as archive:
        document: Policy = json.load(archive.extractfile("policy.json"))  # type: ignore[arg-type]
    assert document["noise"] == "gumbel"
    found = document["statistics"]["observation"]
    assert found["count"] > 1000
    assert [len(found[key]) for key in ("mean", "std", "edges", "shares")] == [4] * 4  # type: ignore[literal-required]
    for edges, shares in zip(found["edges"], found["shares"], strict=True):
        assert edges == sorted(set(edges))
        assert len(shares) == len(edges) + 1
        assert sum(shares) == pytest.approx(1)
        assert max(shares) < 0.2, "deciles of numbers that are never the same"


def test_golden_actions_are_what_the_packed_policy_does(validated: Path) -> None:
    golden: Golden = json.loads((validated / "validation" / "golden.json").read_text())
    assert len(golden["observations"]) == 32
    with tarfile.open(validated / "model.tar.gz") as archive:
        served = ServedPolicy(archive.extractfile("policy.onnx").read())  # type: ignore[union-attr]
    actions = served.act(np.array(golden["observations"], dtype=np.float32))
    assert actions.tolist() == golden["actions"]
    assert len({json.dumps(observation) for observation in golden["observations"]}) == 32


def test_every_episode_of_every_policy_is_written(validated: Path) -> None:
    verdict = read_verdict(validated)
    document: EpisodesDocument = json.loads((validated / "validation" / "episodes.json").read_text())
    assert document["chosen"] == str(verdict.seed)
    choosing, judging = document["choosing"], document["judging"]
    assert choosing is not None
    assert set(choosing["policies"]) == {"1", "5"}
    assert set(judging["policies"]) == {str(verdict.seed)}
    assert judging["first_seed"] - choosing["first_seed"] >= 40
    for seed, played in choosing["policies"].items():
        assert np.mean(played["returns"]) == pytest.approx(verdict.candidates[seed])
    played = judging["policies"][str(verdict.seed)]
    assert {len(values) for values in played.values()} == {40}  # type: ignore[arg-type]
    assert np.mean(played["returns"]) == verdict.mean_return
    assert np.mean(played["failed"]) == verdict.failure_rate
    assert played["failed"] == [returned < 30 for returned in played["returns"]]


def test_a_policy_below_the_threshold_does_not_pass_and_the_job_is_done(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path, timesteps=400, validation={"episodes": 10, "min_return": 195})
    assert train_rl.main(["--run", str(tmp_path), "--seed", "0"]) == 0
    assert validate_rl.main(["--run", str(tmp_path)]) == ExitCode.DONE
    verdict = read_verdict(tmp_path)
    assert not verdict.passed
    assert "did not pass" in verdict.reason
    assert "195 is required" in verdict.reason
    assert verdict.candidates == {"0": verdict.mean_return}
    assert (tmp_path / "model.tar.gz").exists()
    events = [event for line in capfd.readouterr().out.splitlines() if (event := decode(line))]
    assert [event["event"] for event in events[-2:]] == ["validated", "ended"]
    assert events[-1]["reason"] == verdict.reason  # type: ignore[typeddict-item]


def test_an_export_that_acts_differently_fails_the_run(
    validated: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Inverted(ServedPolicy):
        def answer(self, observations: Any, **besides: Any) -> Any:
            actions, memory = super().answer(observations, **besides)
            return 1 - actions, memory

    monkeypatch.setattr(validation, "ServedPolicy", Inverted)
    before = (validated / "model.tar.gz").read_bytes()
    assert validate_rl.main(["--run", str(validated)]) == ExitCode.FAILED
    last = decode(capfd.readouterr().out.splitlines()[-1])
    assert last is not None
    assert last["event"] == "ended"
    assert "acts differently" in last["reason"]
    assert (validated / "model.tar.gz").read_bytes() == before


def test_a_seed_that_was_not_trained_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path)
    assert validate_rl.main(["--run", str(tmp_path)]) == ExitCode.USAGE
    assert "seed-0/model" in capfd.readouterr().out


def verdict_of(returns: list[float], *, min_return: float, confidence: float = 0.95) -> Verdict:
    count = len(returns)
    episodes = Episodes(
        returns=np.array(returns),
        lengths=np.ones(count, dtype=np.int64),
        truncated=np.zeros(count, dtype=bool),
        successes=np.full(count, np.nan),
        observations=np.empty(0),
    )
    return judge(
        episodes,
        seed=0,
        min_return=min_return,
        confidence=confidence,
        onnx_observations=10_000,
        candidates={"0": 0.0},
    )


def test_the_rule_is_the_lower_bound_and_not_the_mean() -> None:
    returns = [400.0] * 20 + [500.0] * 80  # mean 480, its standard error 4
    assert verdict_of(returns, min_return=470).passed
    verdict = verdict_of(returns, min_return=476)
    assert verdict.mean_return == 480
    assert not verdict.passed
    assert verdict.rule == "min_return"
    assert verdict_of(returns, min_return=476, confidence=0.6).passed


def test_a_bound_that_is_exactly_the_threshold_passes() -> None:
    assert verdict_of([475.0] * 10, min_return=475).passed
    assert not verdict_of([475.0] * 10, min_return=475.0001).passed


def test_held_out_seeds_are_out_of_reach_of_training_and_a_runs_own() -> None:
    highest = max(segment_seed(seed, segment) for seed in (0, 1, 2**31 - 1) for segment in range(1000))
    most_copies, most_episodes = 1024, 10_000  # as the contract bounds them
    spans = sorted(first(f"run-{number}") for number in range(50) for first in (choosing_seeds, judging_seeds))
    assert highest + most_copies < 2**31 + most_copies <= HELD_OUT_SEEDS <= spans[0]
    assert spans[-1] + most_episodes < EVALUATION_SEEDS
    assert all(second - first >= most_episodes for first, second in pairwise(spans))


class Always:
    """Does the same, whatever it sees."""

    def __init__(self, action: int) -> None:
        self._action = action

    def act(self, observations: Any) -> Any:
        return np.full(len(observations), self._action)


@pytest.mark.parametrize("environment", ["CartPole-v0", "MountainCar-v0"])  # stepped natively, and one by one
def test_every_policy_plays_the_same_episodes(environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[Any] = []
    make = environments.make

    def recording(*arguments: Any) -> Any:
        made = make(*arguments)
        reset = made.reset

        def recorded() -> Any:
            starts.append(np.array(first := reset()))
            return first

        monkeypatch.setattr(made, "reset", recorded)
        return made

    monkeypatch.setattr(environments, "make", recording)
    for action in (0, 1):
        play(Always(action), EnvironmentSection(id=environment), episodes=150, seed=HELD_OUT_SEEDS)
    first, second, first_again, second_again = starts
    np.testing.assert_array_equal(first, first_again)
    np.testing.assert_array_equal(second, second_again)
    assert not np.isin(second[:, 0], first[:, 0]).any(), "no episode is played twice"


def test_results_are_in_the_order_of_the_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = [
        play(Always(1), EnvironmentSection(id="CartPole-v1"), episodes=1, seed=HELD_OUT_SEEDS + number)
        for number in range(3)
    ]
    monkeypatch.setattr("training_image.trainer.policies.evaluation.MOST_COPIES", 1)
    together = play(Always(1), EnvironmentSection(id="CartPole-v1"), episodes=3, seed=HELD_OUT_SEEDS)
    assert together.returns.tolist() == [episodes.returns[0] for episodes in alone]
    assert len(set(together.returns)) > 1
    assert not together.truncated.any()


def test_an_episode_cut_by_the_clock_is_told_apart() -> None:
    assert play(Always(1), EnvironmentSection(id="MountainCar-v0"), episodes=2, seed=HELD_OUT_SEEDS).truncated.all()


@pytest.mark.parametrize("episodes", [2, 7, 150])
def test_exactly_as_many_episodes_as_asked_are_played(episodes: int, validated: Path) -> None:
    policy = read(LocalStorage(validated / "seed-1" / "model"))
    played = play(policy.graph, EnvironmentSection(id="CartPole-v0"), episodes=episodes, seed=HELD_OUT_SEEDS)
    assert len(played.returns) == len(played.lengths) == episodes
    assert (played.returns == played.lengths).all()  # CartPole gives 1 a step
    assert len(played.observations) == played.lengths.sum() or len(played.observations) <= MOST_OBSERVATIONS
    again = play(policy.graph, EnvironmentSection(id="CartPole-v0"), episodes=episodes, seed=HELD_OUT_SEEDS)
    np.testing.assert_array_equal(played.returns, again.returns)
    other = play(policy.graph, EnvironmentSection(id="CartPole-v0"), episodes=episodes, seed=HELD_OUT_SEEDS + 500)
    assert not np.array_equal(played.observations[0], other.observations[0])


def test_the_archive_depends_on_its_content_only() -> None:
    files = {"b": b"2", "a": b"1"}
    packed = pack(files)
    assert packed == pack(dict(reversed(files.items())))
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert [(member.name, member.mtime, member.uid) for member in archive] == [("a", 0, 0), ("b", 0, 0)]


def test_a_recorder_that_is_full_keeps_an_even_spread() -> None:
    from training_image.trainer.policies.evaluation import _Recorder

    recorder = _Recorder()
    for step in range(1000):
        recorder.add(np.full((100, 1), step))
    steps = recorder.observations[:, 0]
    assert len(steps) <= MOST_OBSERVATIONS
    assert steps.min() < 20
    assert steps.max() > 980
    assert np.abs(np.diff(np.sort(np.unique(steps)))).max() <= 2


def test_nothing_is_reported_before_the_verdict_is_written(validated: Path) -> None:
    from training_image.trainer.plan import read_run

    class Looks(Recorder):
        def report(self, event: Any) -> None:
            super().report(event)
            assert read_verdict(validated).reason == event["reason"]

    storage = LocalStorage(validated)
    validation.validate(read_run(storage), storage, reporter := Looks())
    assert len(reporter.of("validated")) == 1

"""Runs that have a log and no simulator: prepared, trained, judged by held-out episodes, and exported."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from gymnasium import spaces

from contract.layout import CHAMPIONS, RunLayout
from contract.outcomes import ExitCode
from contract.run import EnvironmentSection, ValidationSection
from contract.verdict import Verdict
from tests.unit.training_image.helpers import ROOT, script, write_run
from tests.unit.training_image.test_off_policy import HANDS, Acting, corridor
from training_image import prepare_data, train_rl, validate_rl
from training_image.trainer.envs import environments
from training_image.trainer.envs import spaces as described_spaces
from training_image.trainer.errors import UsageError
from training_image.trainer.learning import algorithms, logged
from training_image.trainer.learning.hyperparameters import resolve
from training_image.trainer.learning.offline import Offline
from training_image.trainer.policies import archive, model
from training_image.trainer.policies.served import ServedPolicy
from training_image.trainer.storage import LocalStorage
from training_image.trainer.verdict import champion, judging_by_log, off_policy
from training_image.trainer.verdict.off_policy import Estimator

ENVIRONMENT = {
    "observation_space": {"type": "Box", "shape": [4]},
    "action_space": {"type": "Discrete", "n": 2},
}
SEEN_AND_DONE = {
    "observation_space": {"type": "Discrete", "n": 5},
    "action_space": {"type": "Discrete", "n": 2},
}
SMALL = {"net_arch": [32], "batch_size": 128}
BEFORE = "before-0123456789ab"


def written(folder: Path, run_id: str = "logged-0123456789ab", **sections: Any) -> Path:
    """A prepared run on the example's log; its data are already there."""
    sections = {"algorithm": {"name": "iql", "hyperparameters": SMALL}, "timesteps": 600} | sections
    write_run(folder, run_id=run_id, environment=ENVIRONMENT, data={"kind": "transitions"}, **sections)
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the example's log is prepared to, where a run file says no more than its spaces."""
    experiment = tmp_path_factory.mktemp("experiment")
    shutil.copytree(ROOT / "examples" / "offline_cartpole" / "data", experiment / "data")
    document = {"environment": ENVIRONMENT, "algorithm": {"name": "iql"}, "data": {"kind": "transitions"}}
    (experiment / "run.yaml").write_text(json.dumps(document))
    folder = tmp_path_factory.mktemp("prepared")
    assert prepare_data.main(["--experiment", str(experiment), "--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def artifacts(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artifacts of a run that was trained and judged, and whose policy serves."""
    root = tmp_path_factory.mktemp("artifacts")
    folder = root / RunLayout(run_id=BEFORE).prefix
    shutil.copytree(prepared, folder / "data")
    written(folder, run_id=BEFORE, seeds=[0, 1], timesteps=300)
    for seed in ("0", "1"):
        assert train_rl.main(["--run", str(folder), "--seed", seed]) == 0
    assert validate_rl.main(["--run", str(folder)]) == 0
    (root / CHAMPIONS).mkdir()
    (root / CHAMPIONS / "small.json").write_text(json.dumps({"run_id": BEFORE}))
    return root


def verdict_of(folder: Path) -> Verdict:
    return Verdict.model_validate_json((folder / "validation" / "verdict.json").read_text())


def challenged(artifacts: Path, tmp_path: Path, *, seed: int, **sections: Any) -> Verdict:
    """The verdict of a run that was trained as the one that serves, from another seed or the same."""
    root = Path(shutil.copytree(artifacts, tmp_path / "artifacts"))
    before = root / RunLayout(run_id=BEFORE).prefix
    folder = root / RunLayout(run_id="next-0123456789ab").prefix
    shutil.copytree(before / "data", folder / "data")
    shutil.copytree(before / f"seed-{seed}", folder / f"seed-{seed}")
    written(folder, run_id="next-0123456789ab", seeds=[seed], **sections)
    assert validate_rl.main(["--run", str(folder)]) == 0
    return verdict_of(folder)


def test_the_log_decides_and_nothing_is_played(artifacts: Path) -> None:
    folder = artifacts / RunLayout(run_id=BEFORE).prefix
    verdict = verdict_of(folder)
    found = verdict.off_policy
    assert found is not None
    assert verdict.passed
    assert (verdict.rule, verdict.episodes, verdict.failure_rate) == ("off-policy", 0, None)
    assert (verdict.mean_return, verdict.lower_bound) == (found.estimate, found.lower_bound)
    assert found.log_estimate is not None
    assert verdict.min_return == found.log_estimate < found.lower_bound < found.estimate
    assert found.log_return == pytest.approx(37.05, abs=0.01)
    assert found.log_estimate == pytest.approx(found.log_return, abs=8)
    assert "there is no simulator, so no episode was played" in verdict.reason
    assert "what the log's own actions are worth, was required" in verdict.reason
    assert set(verdict.candidates) == {"0", "1"}
    assert verdict.candidates[str(verdict.seed)] == max(verdict.candidates.values())
    left = {path.name for path in (folder / "validation").iterdir()}
    assert left == {"verdict.json", "golden.json", "report.html"}


def test_what_is_served_acts_on_held_out_observations_as_what_was_trained(artifacts: Path) -> None:
    folder = artifacts / RunLayout(run_id=BEFORE).prefix
    files = archive.unpack((folder / "model.tar.gz").read_bytes())
    golden = json.loads(files["golden.json"])
    held_out = pl.read_parquet(folder / "data" / "held_out" / "*.parquet")
    logged_there = {tuple(row) for row in held_out.select(pl.col("^observation_.$").cast(pl.Float32)).rows()}
    assert {tuple(observation) for observation in golden["observations"]} <= logged_there
    trained = model.read(LocalStorage(folder / f"seed-{verdict_of(folder).seed}" / "model"))
    observations = np.array(golden["observations"], np.float32)
    assert ServedPolicy(files["policy.onnx"]).act(observations).tolist() == golden["actions"]
    assert trained.graph.act(observations).tolist() == golden["actions"]
    policy = json.loads(files["policy.json"])
    assert policy["statistics"]["observation"]["count"] == len(held_out)
    assert policy["environment"]["observation_space"]["shape"] == policy["observation_space"]["shape"] == [4]
    assert verdict_of(folder).onnx_observations >= 10_000


def test_the_report_says_why_there_is_no_film_and_no_return(artifacts: Path) -> None:
    report = (artifacts / RunLayout(run_id=BEFORE).prefix / "validation" / "report.html").read_text()
    assert "IQL from a log alone" in report
    assert "No film: there is no simulator, only a log, so no episode can be played." in report
    assert "It decided: there is no simulator." in report
    assert "Returns of the held-out episodes" not in report
    assert "No episode was finished while it learned" in report
    assert "--env log" in report
    assert "environment.observation_space=" in report


def test_a_return_that_the_estimate_does_not_surely_reach_is_refused(artifacts: Path, tmp_path: Path) -> None:
    verdict = challenged(artifacts, tmp_path, seed=0, validation={"min_return": 101, "compare_to_champion": False})
    assert (verdict.passed, verdict.rule, verdict.min_return) == (False, "off-policy", 101)
    assert "101 is required" in verdict.reason
    report = (tmp_path / "artifacts/runs/next-0123456789ab/validation/report.html").read_text()
    assert "What to try" in report
    assert "validation.episodes</code>" not in report


def test_the_champion_is_valued_on_the_same_episodes(artifacts: Path, tmp_path: Path) -> None:
    serves = verdict_of(artifacts / RunLayout(run_id=BEFORE).prefix)
    same = challenged(artifacts, tmp_path / "same", seed=serves.seed)
    assert same.champion is not None
    assert (same.passed, same.rule) == (True, "champion")
    assert same.champion.mean_return == same.mean_return == serves.mean_return
    assert same.champion.difference == same.champion.difference_lower_bound == 0
    other = challenged(artifacts, tmp_path / "other", seed=1 - serves.seed)
    assert other.champion is not None
    assert other.champion.difference == pytest.approx(other.mean_return - serves.mean_return)
    assert other.champion.difference_lower_bound < other.champion.difference
    assert other.passed == (other.champion.difference_lower_bound >= 0)
    assert f"the champion of small ({BEFORE}) has" in other.reason


@pytest.mark.parametrize(("hand", "passes"), [("always left", False), ("where it falls", True)])
def test_who_is_better_than_the_log_passes_and_who_is_worse_does_not(prepared: Path, hand: str, passes: bool) -> None:
    """In truth they earn 8.9 and 99.3, and who acted in the log 37."""
    observed, acts = described_spaces.logged(EnvironmentSection.model_validate(ENVIRONMENT))
    held_out = logged.read(str(prepared / "held_out"), observed, acts)
    verdict = judging_by_log.judge(
        Estimator(held_out, observed, acts, gamma=0.99),
        HANDS[hand],
        seed=0,
        rules=ValidationSection(),
        onnx_observations=0,
        candidates={},
    )
    assert (verdict.passed, verdict.rule) == (passes, "off-policy")


@pytest.mark.parametrize(("needs", "said"), [("memory", "remembers an episode"), ("choices", "told which actions")])
def test_a_champion_that_needs_more_than_observations_is_not_replaced(needs: str, said: str) -> None:
    policy: Any = SimpleNamespace(**{"memory": 0, "choices": 0, needs: 2})
    found = champion.by_log(champion.Champion(run_id=BEFORE, endpoint="small", policy=policy))
    assert isinstance(found, champion.Incomparable)
    assert found.rule == "champion differs"
    assert said in found.reason
    assert "validation.compare_to_champion to false" in found.reason
    places, ways = spaces.Discrete(5), spaces.Discrete(2)
    verdict = judging_by_log.judge(
        Estimator(corridor(200), places, ways, gamma=0.9),
        Acting(lambda seen: np.ones(len(seen))),
        seed=0,
        rules=ValidationSection(),
        onnx_observations=0,
        candidates={},
        champion=found,
    )
    assert verdict.lower_bound > verdict.min_return, "it would have passed"
    assert (verdict.passed, verdict.rule, verdict.champion) == (False, "champion differs", None)
    assert verdict.reason.endswith(f"but {found.reason}.")


def test_by_hand_it_is_trained_continued_and_judged_and_what_cannot_be_is_refused(
    prepared: Path, tmp_path: Path
) -> None:
    given = [f"--set=environment.{name}={json.dumps(space)}" for name, space in ENVIRONMENT.items()]
    given += [f"--set={name}={json.dumps(value)}" for name, value in SMALL.items()]
    output = str(tmp_path / "policy")
    data = ["--data", str(prepared), "--output", output, "--json"]
    first = script("train_rl.py", "--env", "log", "--algo", "bc", "--timesteps", "100", *given, *data)
    assert first.returncode == 0, first.stderr
    assert f"validate_rl.py --model {output}/model --data {prepared}" in first.stderr
    longer = script("train_rl.py", "--resume", "--timesteps", "200", *data)
    assert longer.returncode == 0, longer.stderr
    assert json.loads(longer.stdout)["timesteps"] == 200
    judged = script("validate_rl.py", "--model", output, "--data", str(prepared), "--json")
    assert judged.returncode == 0, judged.stderr
    assert "no episode was played" in judged.stderr
    summary = json.loads(judged.stdout)
    assert summary["episodes"] == 0
    assert summary["onnx_observations"] >= 10_000
    assert summary["mean_return"] == summary["off_policy"]["estimate"] > 37
    for wrong, said in (
        ([], "--data: what prepare_data.py wrote"),
        (["--episodes", "5"], "--episodes: this policy was trained on a log alone"),
        (["--render", "video"], "--render: this policy was trained on a log alone"),
    ):
        refused = script("validate_rl.py", "--model", output, *wrong)
        assert refused.returncode == ExitCode.USAGE
        assert said in refused.stdout


def test_a_log_that_cannot_judge_is_rejected_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    frame = pl.read_csv(ROOT / "examples" / "offline_cartpole" / "data" / "log.csv")
    frame.filter(pl.col("episode") < 30).write_csv(tmp_path / "data" / "log.csv")
    document = {"environment": ENVIRONMENT, "algorithm": {"name": "iql"}, "data": {"kind": "transitions"}}
    (tmp_path / "run.yaml").write_text(json.dumps(document))
    done = script("prepare_data.py", "--experiment", str(tmp_path))
    assert done.returncode == ExitCode.REJECTED
    assert (
        "too few episodes, 30, to judge a policy by without a simulator: 6 are held out and 8 are needed" in done.stdout
    )


def test_what_the_log_itself_is_worth_does_not_depend_on_where_its_episodes_were_cut() -> None:
    """V = P V + r of a walk of random steps, by its definition."""
    step, reward = np.zeros((4, 4)), np.array([0, 0, 0, 0.5])
    for place in range(4):
        step[place, max(place - 1, 0)] += 0.5
        if place < 3:
            step[place, place + 1] += 0.5
    exact = np.linalg.solve(np.eye(4) - 0.9 * step, reward)[0]
    whole = corridor(2000)
    number = np.concatenate([np.arange(count) for count in np.bincount(whole.episode)])
    kept = number < 12
    cut = logged.Log(**{name: getattr(whole, name)[kept] for name in vars(whole)})
    places, ways = spaces.Discrete(5), spaces.Discrete(2)
    for log in (whole, cut):
        found = Estimator(log, places, ways, gamma=0.9).of_the_log()
        assert found is not None
        assert found.estimate == pytest.approx(exact, abs=0.02)
    assert cut.outcomes(0.9)[np.diff(cut.episode, prepend=-1) > 0].mean() < exact - 0.03


def test_a_log_that_never_shows_what_was_done_next_is_no_measure_and_one_that_shows_nothing_next_no_lesson() -> None:
    """Episodes of one step, each cut short after it."""
    whole = corridor(200)
    first = np.flatnonzero(np.diff(whole.episode, prepend=-1) > 0)
    parts = {name: getattr(whole, name)[first] for name in vars(whole)}
    told = logged.Log(**parts | {"terminated": np.zeros(len(first), bool)})
    places, ways = spaces.Discrete(5), spaces.Discrete(2)
    hand = Acting(lambda seen: np.ones(len(seen)))
    estimator = Estimator(told, places, ways, gamma=0.9)
    assert estimator.describe(estimator.of(hand), 0.95).log_estimate is None
    given: dict[str, Any] = {"seed": 0, "onnx_observations": 0, "candidates": {}}
    assert judging_by_log.judge(estimator, hand, rules=ValidationSection(min_return=-1), **given).passed
    with pytest.raises(UsageError, match="min_return: a number"):
        judging_by_log.judge(estimator, hand, rules=ValidationSection(), **given)
    untold = logged.Log(**vars(told) | {"follows": np.zeros(len(first), bool)})
    assert off_policy.estimate(hand, untold, places, ways, gamma=0.9, confidence=0.95) is None
    built = algorithms.build(
        "iql",
        environments.make(EnvironmentSection.model_validate(SEEN_AND_DONE), 1),
        resolve("iql", "log", {}),
        0,
    )
    assert isinstance(built, Offline)
    with pytest.raises(UsageError, match="of no transition it is known what came next"):
        built.study(untold)


def test_policies_are_compared_with_the_same_resamples() -> None:
    places, ways = spaces.Discrete(5), spaces.Discrete(2)
    estimator = Estimator(corridor(200), places, ways, gamma=0.9)
    forward = estimator.of(Acting(lambda seen: np.ones(len(seen))))
    again = estimator.of(Acting(lambda seen: np.ones(len(seen))))
    back = estimator.of(Acting(lambda seen: np.zeros(len(seen))))
    assert forward.lead_over(again).interval(0.95) == (0, 0)
    lead = forward.lead_over(back)
    assert lead.estimate == forward.estimate - back.estimate
    assert 0 < lead.lower_bound(0.95) < lead.estimate
    assert lead.interval(0.95)[0] < lead.lower_bound(0.95), "one-sided, it reaches higher"


def test_where_there_is_no_simulator_nobody_can_act() -> None:
    made = environments.make(EnvironmentSection.model_validate(ENVIRONMENT), 1)
    made.reset()
    with pytest.raises(UsageError, match="there is no simulator"):
        made.step(np.array([0]))

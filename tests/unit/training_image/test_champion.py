"""Who serves plays against the new policy, on the same episodes; what cannot be compared says why."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contract.episodes import CHAMPION, EpisodesDocument
from contract.layout import RunLayout, champion_key
from contract.verdict import Verdict
from tests.unit.training_image.helpers import SMALL, write_run
from training_image import train_rl, validate_rl
from training_image.trainer.policies import archive
from training_image.trainer.storage import LocalStorage

BEFORE = "before-0123456789ab"
HYPERPARAMETERS = SMALL | {"learning_rate": 3e-3}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifacts bucket with a run that serves at the endpoint `small`."""
    artifacts = tmp_path_factory.mktemp("artifacts")
    folder = artifacts / RunLayout(run_id=BEFORE).prefix
    write_run(folder, run_id=BEFORE, seeds=[1, 5], algorithm={"hyperparameters": HYPERPARAMETERS}, **validation(30))
    for seed in ("1", "5"):
        assert train_rl.main(["--run", str(folder), "--seed", seed]) == 0
    assert validate_rl.main(["--run", str(folder)]) == 0
    champion = artifacts / champion_key("small")
    champion.parent.mkdir()
    champion.write_text(json.dumps({"endpoint": "small", "run_id": BEFORE}))
    return artifacts


@pytest.fixture
def artifacts(served: Path, tmp_path: Path) -> Path:
    """The same, for one test to change."""
    return Path(shutil.copytree(served, tmp_path / "artifacts"))


def validation(min_return: float, **others: Any) -> dict[str, Any]:
    return {"validation": {"episodes": 30, "min_return": min_return, **others}}


def validated(artifacts: Path, *, seeds: list[int], run_id: str = "next-0123456789ab", **sections: Any) -> Verdict:
    """The verdict of a run that trained exactly as the one that serves did."""
    folder = artifacts / RunLayout(run_id=run_id).prefix
    sections = validation(5) | sections
    write_run(folder, run_id=run_id, seeds=seeds, algorithm={"hyperparameters": HYPERPARAMETERS}, **sections)
    for seed in seeds:
        before = artifacts / RunLayout(run_id=BEFORE).seed(seed)
        shutil.copytree(before, folder / before.name)
    assert validate_rl.main(["--run", str(folder)]) == 0
    return Verdict.model_validate_json((folder / "validation" / "verdict.json").read_text())


def test_the_same_policies_are_not_worse_and_all_play_the_same_episodes(artifacts: Path) -> None:
    verdict = validated(artifacts, seeds=[1, 5])
    assert verdict.passed
    assert verdict.rule == CHAMPION
    assert verdict.champion is not None
    assert (verdict.champion.run_id, verdict.champion.endpoint) == (BEFORE, "small")
    assert f"the champion of small ({BEFORE}) has" in verdict.reason
    text = (artifacts / "runs/next-0123456789ab/validation/episodes.json").read_text()
    document: EpisodesDocument = json.loads(text)
    assert document["choosing"] is not None
    for played in (document["choosing"], document["judging"]):
        assert CHAMPION in played["policies"]
    served_seed = json.loads((artifacts / f"runs/{BEFORE}/validation/verdict.json").read_text())["seed"]
    played = document["choosing"]
    assert played["policies"][CHAMPION] == played["policies"][str(served_seed)]
    if verdict.seed == served_seed:
        assert verdict.champion.difference == verdict.champion.difference_lower_bound == 0


def test_a_worse_policy_is_not_promoted_though_it_is_good_enough(artifacts: Path) -> None:
    served_seed = json.loads((artifacts / f"runs/{BEFORE}/validation/verdict.json").read_text())["seed"]
    other = 6 - served_seed
    verdict = validated(artifacts, seeds=[other])
    assert verdict.lower_bound >= 5
    assert not verdict.passed
    assert verdict.rule == CHAMPION
    assert "not shown to be as good as what serves" in verdict.reason
    assert "validation.margin" in verdict.reason
    margin = validated(artifacts, run_id="margin-0123456789ab", seeds=[other], **validation(5, margin=200))
    assert margin.passed
    assert margin.champion is not None
    assert margin.champion.margin == 200
    unasked = validated(
        artifacts, run_id="free-0123456789ab", seeds=[other], **validation(5, compare_to_champion=False)
    )
    assert (unasked.passed, unasked.rule, unasked.champion) == (True, "min_return", None)
    kept = validated(artifacts, run_id="kept-0123456789ab", seeds=[other], deploy={"target": "none"})
    assert (kept.passed, kept.champion) == (True, None)
    elsewhere = validated(artifacts, run_id="new-0123456789ab", seeds=[other], deploy={"endpoint": "another"})
    assert (elsewhere.passed, elsewhere.champion) == (True, None)


def _repack(artifacts: Path, change: Callable[[dict[str, Any]], None]) -> None:
    packed = artifacts / RunLayout(run_id=BEFORE).model_archive
    files = archive.unpack(packed.read_bytes())
    document = json.loads(files["policy.json"])
    change(document)
    packed.write_bytes(archive.pack(files | {"policy.json": json.dumps(document).encode()}))


def test_a_champion_with_other_spaces_is_not_replaced(artifacts: Path) -> None:
    def other(document: dict[str, Any]) -> None:
        document["environment"]["id"] = "Acrobot-v1"
        document["observation_space"]["shape"] = [6]

    _repack(artifacts, other)
    verdict = validated(artifacts, seeds=[1])
    assert not verdict.passed
    assert verdict.rule == "champion differs"
    assert "Acrobot-v1 with observations" in verdict.reason
    assert "choose another deploy.endpoint, or set validation.compare_to_champion to false" in verdict.reason


def test_a_champion_of_another_environment_with_the_same_spaces_plays_in_this_one(artifacts: Path) -> None:
    def other(document: dict[str, Any]) -> None:
        document["environment"]["id"] = "CartPole-v1"
        document["observation_space"]["low"] = None

    _repack(artifacts, other)
    verdict = validated(artifacts, seeds=[1, 5])
    assert verdict.champion is not None
    assert verdict.champion.max_length <= 200, "an episode of the run's own environment has 200 steps"


@pytest.mark.parametrize(
    ("content", "said"), [(None, "is not at runs/"), (b"\x00nonsense", "cannot be read from runs/")]
)
def test_a_champion_without_its_files_is_not_replaced(artifacts: Path, content: bytes | None, said: str) -> None:
    packed = artifacts / RunLayout(run_id=BEFORE).model_archive
    packed.unlink()
    if content is not None:
        packed.write_bytes(content)
    verdict = validated(artifacts, seeds=[1])
    assert (verdict.passed, verdict.rule) == (False, "champion missing")
    assert said in verdict.reason


def test_the_archive_is_unpacked_as_it_was_packed() -> None:
    files = {"b": b"2", "a": b"1"}
    assert archive.unpack(archive.pack(files)) == files


def test_the_champion_is_read_from_the_artifacts_bucket_alone(artifacts: Path) -> None:
    """A run folder by itself, as by hand, has no champion."""
    from training_image.trainer.plan import read_run
    from training_image.trainer.verdict.champion import find

    folder = artifacts / RunLayout(run_id=BEFORE).prefix
    alone = Path(shutil.copytree(folder, artifacts / "elsewhere"))
    assert find(read_run(LocalStorage(alone)), LocalStorage(alone), ({}, {})) is None  # type: ignore[typeddict-item]

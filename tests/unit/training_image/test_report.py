"""validation/report.html: what it says, and that it needs nothing but itself."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from contract.layout import VIDEOS, video_file
from contract.run import EnvironmentSection
from contract.verdict import Verdict
from tests.unit.training_image.helpers import ROOT, SMALL, write_run
from training_image import train_rl, validate_rl
from training_image.trainer.policies.evaluation import HELD_OUT_SEEDS, Episodes, play
from training_image.trainer.report import advice, curves, rendering

VENDORED = ROOT / "training_image" / "trainer" / "report" / "charts"


class Page(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.charts: list[dict[str, Any]] = []
        self.text = ""
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        named = dict(attributes)
        self._inside = "chart" if named.get("type") == "application/json" else tag
        self.loaded += [value for name, value in named.items() if name in ("src", "href", "srcset", "data") and value]

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "chart":
            self.charts.append(json.loads(data))
        elif self._inside not in ("script", "style"):
            self.text += f" {' '.join(data.split())}"


@pytest.fixture(scope="module")
def rejected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two seeds that asked for too much, and that was interrupted."""
    folder = tmp_path_factory.mktemp("run")
    write_run(
        folder,
        seeds=[1, 5],
        algorithm={"hyperparameters": SMALL | {"learning_rate": 3e-3}},
        validation={"episodes": 20, "min_return": 190},
        evaluation={"every_steps": 1600, "episodes": 4},
    )
    for seed in ("1", "5"):
        assert train_rl.main(["--run", str(folder), "--seed", seed]) == 0
    summary = folder / "seed-5" / "training.json"
    document = json.loads(summary.read_text())
    document |= {"attempts": 2, "interruptions": [{"timesteps": 1200, "reason": "SIGTERM received <b>"}]}
    summary.write_text(json.dumps(document))
    assert validate_rl.main(["--run", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def page(rejected: Path) -> Page:
    return Page((rejected / "validation" / "report.html").read_text())


def test_the_report_begins_with_the_verdict_and_says_what_to_try(rejected: Path, page: Page) -> None:
    verdict = json.loads((rejected / "validation" / "verdict.json").read_text())
    assert verdict["reason"] in page.text[: page.text.index("Learning")]
    assert "What to try" in page.text


def test_the_report_loads_nothing_and_allows_nothing_to_be_loaded(rejected: Path, page: Page) -> None:
    text = (rejected / "validation" / "report.html").read_text()
    assert page.loaded[0] == "data:,"
    assert all(one.startswith("data:image/webp;base64,") for one in page.loaded[1:])
    assert "default-src 'none'" in text
    assert not re.search(r"@import|url\(", text)


def test_the_report_shows_every_seed_their_mean_and_their_range(page: Page) -> None:
    learning, evaluated = page.charts[:2]
    assert [line["name"] for line in learning["lines"]] == ["seed 1", "seed 5", "mean of 2 seeds"]
    assert learning["level"] == {"name": "required", "value": 190}
    band, mean = learning["bands"][0], learning["lines"][2]
    assert all(low <= y <= high for low, y, high in zip(band["low"], mean["y"], band["high"], strict=True))
    assert len(evaluated["lines"][0]["x"]) >= 2
    for name in ("Entropy", "KL divergence", "Value loss", "Steps per second"):
        assert name in page.text


def test_the_best_the_median_and_the_worst_episode_are_filmed_and_stand_still_until_they_are_asked_for(
    rejected: Path, page: Page
) -> None:
    text = (rejected / "validation" / "report.html").read_text()
    assert [name for name in ("Best", "Median", "Worst") if f"{name} episode" in text] == ["Best", "Median", "Worst"]
    assert text.count("data-film=") == 3
    for name in VIDEOS:
        with Image.open(rejected / video_file(name)) as film:
            assert (film.format, film.size) == ("WEBP", (600, 400))
            assert 2 <= film.n_frames <= rendering.MOST_FRAMES
    assert len(text) < 5 * 2**20


def test_the_report_tells_of_interruptions_and_how_to_reproduce(page: Page) -> None:
    assert "attempt 1 ended at step 1,200: SIGTERM received <b>; continued from its checkpoint" in page.text
    assert "--set n_envs=2" in page.text
    assert "min_return: 190" in page.text


def test_the_drawing_code_is_the_published_one() -> None:
    published = ROOT / "node_modules" / "uplot"
    assert (VENDORED / "uPlot.LICENSE").read_bytes() == (published / "LICENSE").read_bytes()
    for name in ("uPlot.iife.min.js", "uPlot.min.css"):
        assert (VENDORED / name).read_bytes() == (published / "dist" / name).read_bytes(), (
            f"copy {name} from node_modules"
        )


@pytest.mark.parametrize(("environment", "number"), [("CartPole-v1", 3), ("CartPole-v1", 130), ("MountainCar-v0", 4)])
def test_a_film_shows_the_very_episode_that_was_judged(environment: str, number: int) -> None:
    """In environments that are stepped natively, in the first round and in the second, and one by one."""
    of = EnvironmentSection(id=environment, kwargs={})

    class Sometimes:
        """Acts by what it sees, and not well."""

        def act(self, observations: Any) -> Any:
            return (np.abs(observations).sum(axis=1) * 1000).astype(np.int64) % 2 * (2 if "Car-" in environment else 1)

    played = play(Sometimes(), of, episodes=140, seed=HELD_OUT_SEEDS, record=False)
    length = int(played.lengths[number])
    shot = rendering._shoot(Sometimes(), of, seed=HELD_OUT_SEEDS, number=number, episodes=140, length=length)
    assert (shot.episode_return, shot.length) == (played.returns[number], length)
    assert shot.is_whole
    assert len(set(played.lengths)) > 1 or environment == "MountainCar-v0"


def test_episodes_that_are_alike_are_filmed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shots: list[int] = []
    nothing = rendering._Shot(episode_return=0, length=1, content=b"", seconds=1, is_whole=True)
    monkeypatch.setattr(rendering, "_shoot", lambda *_, number, **__: shots.append(number) or nothing)
    of = EnvironmentSection(id="CartPole-v1", kwargs={})
    for returns, filmed in (([5, 5, 5], [0]), ([1, 9, 9], [1, 0]), ([3, 1, 2], [0, 2, 1])):
        shots.clear()
        rendering.films(None, of, played=episodes_of(returns), seed=0)  # type: ignore[arg-type]
        assert shots == filmed


def test_what_cannot_be_drawn_is_said_and_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise AttributeError("no display")

    monkeypatch.setattr(rendering.environments, "make", broken)
    of = EnvironmentSection(id="CartPole-v1", kwargs={})
    made, why = rendering.films(None, of, played=episodes_of([1, 2]), seed=0)  # type: ignore[arg-type]
    assert (made, why) == ([], "CartPole-v1 cannot be drawn here: no display")


def test_a_film_that_would_be_large_is_coarser() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 300, 400, 3), dtype=np.uint8)
    assert len(rendering._encode(list(noise), 40)) <= rendering.MOST_BYTES


def episodes_of(returns: list[float]) -> Episodes:
    count = len(returns)
    return Episodes(
        returns=np.array(returns, dtype=np.float64),
        lengths=np.ones(count, dtype=np.int64),
        truncated=np.zeros(count, dtype=np.bool_),
        successes=np.full(count, np.nan),
        observations=np.empty(0),
    )


def test_a_long_curve_keeps_its_level_and_its_end() -> None:
    lines = [{"timesteps": 10 * step, "mean_return": float(step)} for step in range(1, 2001)]
    line = curves.learning({0: lines}, level=5)["lines"][0]
    assert len(line["x"]) == curves.POINTS
    assert line["x"][-1] == 20_000
    assert line["y"][0] == pytest.approx(3.5)
    assert line["y"] == sorted(line["y"])


def test_seeds_of_different_lengths_are_averaged_where_all_of_them_are() -> None:
    seeds = {
        0: [{"timesteps": step, "mean_return": 10.0} for step in range(100, 1001, 100)],
        1: [{"timesteps": step, "mean_return": 20.0} for step in range(300, 801, 100)],
    }
    chart = curves.learning(seeds, level=5)
    assert chart["lines"][2] == {
        "name": "mean of 2 seeds",
        "bold": True,
        "x": [300, 400, 500, 600, 700, 800],
        "y": [15] * 6,
    }
    assert chart["bands"][0]["low"] == [10] * 6


def test_a_step_that_was_recorded_twice_has_its_last_value() -> None:
    steps = [(100, 0.0), (100, 1.0), (200, 3.0), (300, 4.0), (200, 5.0)]
    seeds = {seed: [{"timesteps": step, "mean_return": value} for step, value in steps] for seed in (0, 1)}
    chart = curves.learning(seeds, level=5)
    assert chart["lines"][0] == {"name": "seed 0", "x": [100, 200, 300], "y": [1, 5, 4]}
    assert chart["lines"][2]["y"] == [1, 5, 4]


@pytest.mark.parametrize("values", [[500.0] * 100, [0.0, 1e-9], [-1e6, 1e6], [3.0]])
def test_every_episode_is_in_the_histogram(values: list[float]) -> None:
    chart = curves.histogram({"this policy": values, "champion": values[:1]}, level=475)
    assert [sum(bars["counts"]) for bars in chart["bars"]] == [len(values), 1]
    assert chart["edges"] == sorted(chart["edges"])
    assert chart["edges"][0] < 475 < chart["edges"][-1]


def test_nothing_recorded_is_no_error() -> None:
    chart = curves.learning({0: [], 1: [{"timesteps": 5}]}, level=1)
    assert (chart["lines"], chart["bands"]) == ([], [])
    assert "nothing was recorded" in chart["label"]
    assert curves.measures({0: []}) == []


def verdict(**fields: Any) -> Verdict:
    known = {"passed": False, "seed": 0, "episodes": 100, "mean_return": 80, "lower_bound": 70, "min_return": 100}
    return Verdict.model_construct(**known, candidates={"0": 80.0}, **{}).model_copy(update=fields)


def curve(returns: list[float]) -> dict[int, list[dict[str, Any]]]:
    return {0: [{"timesteps": 100 * number, "mean_return": value} for number, value in enumerate(returns, 1)]}


@pytest.mark.parametrize(
    ("fields", "returns", "said"),
    [
        ({}, [float(step) for step in range(40)], "still rising"),
        ({}, [*range(60), *[30.0] * 20], "fell from 59 at step 6,000 to 30"),
        ({}, [*range(60), *[59.0] * 60], "stopped rising at about 59"),
        ({}, [1.0, 2.0], "Training was short"),
        ({"mean_return": 101.0}, [50.0] * 40, "leave too much doubt"),
        ({"candidates": {"0": 80.0, "1": 20.0}}, [50.0] * 40, "The seeds differ"),
        ({"episodes": 0}, [], "What the log never shows cannot be learnt"),
        ({"episodes": 0, "mean_return": 101.0}, [], "A longer log narrows the interval"),
    ],
)
def test_what_to_try_follows_from_what_is_seen(fields: dict[str, Any], returns: list[float], said: str) -> None:
    assert said in " ".join(advice.suggestions(verdict(**fields), curve(returns)))


def test_a_policy_that_passed_needs_no_advice() -> None:
    assert advice.suggestions(verdict(passed=True), curve([1.0] * 40)) == []

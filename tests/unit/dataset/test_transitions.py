"""Logged experience: whole episodes in one of two parts, the same bytes for the same inputs, in any order of rows."""

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from gymnasium import spaces

from tests.unit.dataset.damaged_files import EPISODES, ROWS, STEPS, log
from tests.unit.dataset.preparing import rows_of, transitions
from training_image.dataset import source
from training_image.dataset import transitions as module
from training_image.dataset.transitions import Spaces


def written(folder: Path, frame: pl.DataFrame, name: str = "log.parquet") -> Path:
    folder.mkdir(exist_ok=True)
    frame.write_parquet(folder / name)
    return folder / name


def digest(folder: Path) -> dict[str, str]:
    output = folder / "output"
    paths = sorted(path for path in output.rglob("*") if path.is_file())
    return {str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def many(rows: int) -> pl.DataFrame:
    """A log that is read in several batches when `source.BATCH_ROWS` is small."""
    generator = np.random.default_rng(1)
    lengths = generator.integers(1, 60, size=rows // 20)
    lengths = lengths[: int(np.searchsorted(np.cumsum(lengths), rows)) + 1]
    step = np.concatenate([np.arange(length) for length in lengths])
    episode = np.repeat(np.arange(len(lengths)), lengths)
    ends = np.r_[episode[1:] != episode[:-1], True]
    return pl.DataFrame(
        {
            "episode": episode,
            "step": step,
            **{f"observation_{i}": generator.uniform(-0.2, 0.2, len(step)).astype(np.float32) for i in range(4)},
            "action": generator.integers(0, 2, len(step)),
            "reward": generator.normal(size=len(step)),
            "terminated": ends & (episode % 2 == 0),
            "truncated": ends & (episode % 2 == 1),
        }
    )


def test_no_episode_is_in_both_parts_and_the_share_is_kept(tmp_path: Path) -> None:
    dataset = transitions(tmp_path, written(tmp_path / "in", log()), held_out=0.25)
    train, held_out = rows_of(tmp_path, dataset.train), rows_of(tmp_path, dataset.held_out)
    assert not set(train["episode"]) & set(held_out["episode"])
    assert (dataset.train.episodes, dataset.held_out.episodes) == (30, 10)
    assert (len(train), len(held_out)) == (30 * STEPS, 10 * STEPS)


def test_an_episode_that_is_held_out_still_is_when_more_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SMALL_ROWS", 100)
    frame = many(20_000)
    half = frame.filter(pl.col("episode") < 300)
    one, two = tmp_path / "one", tmp_path / "two"
    few, all_of_them = transitions_in(one, half), transitions_in(two, frame)
    before = set(rows_of(one, few.held_out)["episode"])
    assert before == {number for number in rows_of(two, all_of_them.held_out)["episode"] if number < 300}
    assert 0.1 < len(before) / 300 < 0.3


def transitions_in(folder: Path, frame: pl.DataFrame, **data: object):  # type: ignore[no-untyped-def]
    folder.mkdir()
    return transitions(folder, written(folder / "in", frame), **data)


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BATCH_ROWS", 700)
    frame = many(10_000).with_columns(
        reward=pl.when(pl.int_range(pl.len()) % 997 == 0).then(float("nan")).otherwise("reward")
    )
    for name in ("one", "two"):
        transitions_in(tmp_path / name, frame, max_rejected=1)
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    assert "rejected.parquet" in digest(tmp_path / "one")


@pytest.mark.parametrize("batch", [7, 700, 2**18])
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_how_much_is_read_at_a_time_changes_nothing(
    batch: int, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "BATCH_ROWS", batch)
    frame = many(3000).with_columns(reward=pl.when(pl.int_range(pl.len()) == 1500).then(None).otherwise("reward"))
    path = tmp_path / f"log.{suffix}"
    frame.write_parquet(path) if suffix == "parquet" else frame.write_csv(path)
    dataset = transitions(tmp_path, path)
    row = frame.row(1500, named=True)
    lost = frame.filter((pl.col("episode") == row["episode"]) & (pl.col("step") >= row["step"]))
    assert dataset.rejected == len(lost)
    kept = rows_of(tmp_path, dataset.train, dataset.held_out).sort("episode", "step")
    expected = frame.join(lost, on=["episode", "step"], how="anti").sort("episode", "step")
    assert kept["reward"].to_list() == expected["reward"].to_list()
    assert kept.filter(pl.col("episode") == row["episode"])["truncated"].to_list()[-1:] == [True] * (row["step"] > 0)


def test_rows_in_any_order_give_the_same_episodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BATCH_ROWS", 1000)
    monkeypatch.setattr(module, "BUCKET_BYTES", 50_000)
    frame = many(10_000)
    shuffled = frame.sample(fraction=1, shuffle=True, seed=3)
    parts = []
    for name, rows in (("one", frame), ("two", shuffled), ("three", frame.sort("step", maintain_order=True))):
        dataset = transitions_in(tmp_path / name, rows)
        assert (dataset.rejected, dataset.accepted) == (0, True)
        order = ["episode", "step"]
        parts.append([rows_of(tmp_path / name, part).sort(order) for part in (dataset.train, dataset.held_out)])
        in_place = rows_of(tmp_path / name, dataset.train)
        assert (in_place["step"].diff().fill_null(1)[1:] == 1).to_numpy()[~_begins(in_place)[1:]].all()
    assert parts[0][0].equals(parts[1][0])
    assert parts[0][0].equals(parts[2][0])
    assert parts[0][1].equals(parts[1][1])


def _begins(frame: pl.DataFrame):  # type: ignore[no-untyped-def]
    return (frame["step"] == 0).to_numpy()


def test_a_duplicate_far_away_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In another batch and another file, long after the first."""
    monkeypatch.setattr(source, "BATCH_ROWS", 500)
    frame = many(5000)
    first, second = written(tmp_path / "in", frame, "a.parquet"), written(tmp_path / "in", frame[:40], "b.parquet")
    dataset = transitions(tmp_path, first, second)
    assert dataset.repairs["rows that were there twice, every value the same, were kept once"] == 40
    assert (dataset.rows, dataset.rejected) == (len(frame) + 40, 0)
    changed = written(tmp_path / "in", frame[:40].with_columns(pl.col("reward") + 1), "b.parquet")
    dataset = transitions(tmp_path, first, changed)
    assert dataset.rejected == 40
    assert {example.file for reason in dataset.reasons for example in reason.examples} == {"data/b.parquet"}
    assert any("data.episodes_per_file" in warning for warning in dataset.warnings)


def test_files_that_count_their_episodes_anew(tmp_path: Path) -> None:
    first, second = written(tmp_path / "in", log(), "a.parquet"), written(tmp_path / "in", log(), "b.parquet")
    dataset = transitions(tmp_path, first, second, episodes_per_file=True)
    assert (dataset.rejected, dataset.repairs) == (0, {})
    assert dataset.train.episodes == 2 * EPISODES * 0.8


def test_split_by_time_holds_out_what_is_later(tmp_path: Path) -> None:
    """Through the middle of an episode, if need be: what was before is as if truncated there."""
    frame = log().with_columns(time=pl.int_range(pl.len()).cast(pl.Float64))
    dataset = transitions(tmp_path, written(tmp_path / "in", frame), split="time", held_out=0.19)
    train, held_out = rows_of(tmp_path, dataset.train), rows_of(tmp_path, dataset.held_out)
    assert train["time"].max() < held_out["time"].min()  # type: ignore[operator]
    assert len(train) + len(held_out) == ROWS
    assert abs(len(held_out) - 0.19 * ROWS) <= 1
    assert len(held_out) % STEPS
    assert train["truncated"].to_list()[-1]
    assert dataset.train.ends is not None
    assert dataset.held_out.begins is not None
    assert float(dataset.train.ends) < float(dataset.held_out.begins)


def test_too_few_episodes_to_hold_one_out(tmp_path: Path) -> None:
    dataset = transitions(tmp_path, written(tmp_path / "in", log()[:STEPS]))
    assert not dataset.accepted
    assert "too few episodes" in dataset.reason


def test_continuous_actions_of_several_numbers(tmp_path: Path) -> None:
    space = Spaces(observation=spaces.Discrete(5), action=spaces.Box(-1, 1, (2,), np.float32))
    frame = pl.DataFrame(
        {
            "episode": [0, 0, 1, 1, 2, 2],
            "step": [0, 1] * 3,
            "observation": [0, 1, 2, 3, 4, 0],
            "action": [[0.5, -1.0], [1.0, 0.0], [0.1, 0.2], [0.3, 1.5], [-1.0, 1.0], [0.0, 0.0]],
            "reward": [0.0] * 6,
            "terminated": [False, True] * 3,
        }
    )
    dataset = transitions(tmp_path, written(tmp_path / "in", frame), spaces=space, max_rejected=0.5, held_out=0.4)
    assert [(reason.reason, reason.rows) for reason in dataset.reasons] == [
        ("action_1 is above 1, the most that its space allows", 1)
    ]
    assert {use.name: len(use.rows) for use in dataset.actions} == {"action_0": 20, "action_1": 20}
    kept = rows_of(tmp_path, dataset.train, dataset.held_out)
    assert kept.columns[:5] == ["episode", "step", "observation", "action_0", "action_1"]


def test_the_observation_after_the_last_step_is_kept(tmp_path: Path) -> None:
    names = [f"observation_{i}" for i in range(4)]
    after = log().select(pl.col(name).shift(-1, fill_value=0.125).alias(f"next_{name}") for name in names)
    dataset = transitions(tmp_path, written(tmp_path / "in", pl.concat([log(), after], how="horizontal")))
    kept = rows_of(tmp_path, dataset.train, dataset.held_out)
    last = kept.filter((pl.col("episode") == EPISODES - 1) & (pl.col("step") == STEPS - 1))
    assert last["next_observation_0"].to_list() == [0.125]


def test_statistics_are_of_the_rows_to_train_on(tmp_path: Path) -> None:
    frame = many(5000)
    dataset = transitions(tmp_path, written(tmp_path / "in", frame))
    train = rows_of(tmp_path, dataset.train)
    by_name = {column.name: column for column in dataset.columns}
    assert by_name["reward"].mean == pytest.approx(train["reward"].mean())
    assert by_name["reward"].std == pytest.approx(train["reward"].std(ddof=0))
    assert by_name["observation_2"].min == pytest.approx(train["observation_2"].min())
    returns = train.group_by("episode").agg(pl.col("reward").sum())["reward"]
    assert dataset.train.mean_return == pytest.approx(returns.mean())
    assert (dataset.train.min_return, dataset.train.max_return) == pytest.approx((returns.min(), returns.max()))
    (use,) = dataset.actions
    assert use.rows == [int((train["action"] == 0).sum()), int((train["action"] == 1).sum())]
    for file in [*dataset.train.files, *dataset.held_out.files]:
        content = (tmp_path / "output" / file.path).read_bytes()
        assert (file.bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_numbers_whose_sum_is_no_number_are_kept(tmp_path: Path) -> None:
    most = np.finfo(np.float32).max
    dataset = transitions(
        tmp_path, written(tmp_path / "in", log().with_columns(observation_1=pl.lit(most, pl.Float32)))
    )
    assert (dataset.rejected, dataset.train.rows + dataset.held_out.rows) == (0, ROWS)

"""What is taken for a checkpoint, and what is not."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from contract.layout import CHECKPOINTS
from tests.unit.training_image.helpers import (
    Killed,
    KilledAt,
    Recorder,
    checkpoints,
    fingerprint,
    run,
    small_plan,
)
from training_image.trainer.errors import UsageError
from training_image.trainer.recovery.checkpoints import Checkpoints
from training_image.trainer.storage import LocalStorage

PARTS = {"parameters.safetensors": b"weights", "counters.json": b"{}"}


def truncate(folder: Path) -> None:
    part = folder / "parameters.safetensors"
    part.write_bytes(part.read_bytes()[:-1])


def flip_a_bit(folder: Path) -> None:
    part = folder / "parameters.safetensors"
    data = bytearray(part.read_bytes())
    data[-1] ^= 1
    part.write_bytes(bytes(data))


def lose_a_part(folder: Path) -> None:
    (folder / "counters.json").unlink()


def lose_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def tear_the_manifest(folder: Path) -> None:
    manifest = folder / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:20])


DAMAGES = [truncate, flip_a_bit, lose_a_part, lose_the_manifest, tear_the_manifest]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_newest_falls_back_to_the_one_before_with_a_warning(damage: Any, tmp_path: Path) -> None:
    store = Checkpoints(LocalStorage(tmp_path), keep=3)
    store.store(100, PARTS, {"n": 1})
    store.store(200, PARTS, {"n": 2})
    damage(tmp_path / "000000000200")

    warnings: list[str] = []
    found = Checkpoints(LocalStorage(tmp_path), keep=3).newest(warnings.append)

    assert found is not None
    assert (found.timesteps, found.parts, found.about) == (100, PARTS, {"n": 1})
    assert len(warnings) == 1
    assert "000000000200" in warnings[0]


def test_training_continues_from_the_one_before_and_ends_the_same(tmp_path: Path) -> None:
    plan = small_plan()
    run(plan, tmp_path / "whole")
    with pytest.raises(Killed):
        run(plan, tmp_path / "cut", KilledAt(3200))
    flip_a_bit(tmp_path / "cut" / CHECKPOINTS / "000000003200")
    resumed = Recorder()
    run(plan, tmp_path / "cut", resumed)
    assert resumed.of("started")[0]["timesteps"] == 1600
    assert any("000000003200" in line for line in resumed.lines)
    assert fingerprint(tmp_path / "cut") == fingerprint(tmp_path / "whole")
    for step in ("000000001600", "000000003200"):  # the damaged one was written anew
        assert (tmp_path / "cut" / CHECKPOINTS / step / "parameters.safetensors").read_bytes() == (
            tmp_path / "whole" / CHECKPOINTS / step / "parameters.safetensors"
        ).read_bytes()


def test_none_complete_is_none(tmp_path: Path) -> None:
    store = Checkpoints(LocalStorage(tmp_path), keep=3)
    store.store(100, PARTS, {})
    lose_the_manifest(tmp_path / "000000000100")
    assert Checkpoints(LocalStorage(tmp_path), keep=3).newest(lambda _: None) is None


def test_a_crash_between_parts_and_manifest_leaves_no_checkpoint(tmp_path: Path) -> None:
    class Crashing(LocalStorage):
        def write(self, key: str, data: bytes) -> None:
            if key.endswith("manifest.json"):
                raise Killed
            super().write(key, data)

    with pytest.raises(Killed):
        Checkpoints(Crashing(tmp_path), keep=3).store(100, PARTS, {})
    assert (tmp_path / "000000000100" / "counters.json").exists()
    assert Checkpoints(LocalStorage(tmp_path), keep=3).newest(lambda _: None) is None


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    run(small_plan(keep=2), tmp_path)
    assert checkpoints(tmp_path) == [3200, 4800]


def test_a_damaged_newer_one_never_crowds_out_a_good_one(tmp_path: Path) -> None:
    store = Checkpoints(LocalStorage(tmp_path), keep=1)
    store.store(300, PARTS, {})
    flip_a_bit(tmp_path / "000000000300")
    store = Checkpoints(LocalStorage(tmp_path), keep=1)
    assert store.newest(lambda _: None) is None
    store.store(200, PARTS, {})
    found = Checkpoints(LocalStorage(tmp_path), keep=1).newest(lambda _: None)
    assert found is not None
    assert found.timesteps == 200


def test_no_checkpoints_when_none_are_wanted(tmp_path: Path) -> None:
    run(small_plan(every_seconds=None), tmp_path)
    assert not (tmp_path / CHECKPOINTS).exists()


def test_checkpoints_come_by_the_clock(tmp_path: Path) -> None:
    reporter = Recorder()
    run(small_plan(every_seconds=3600), tmp_path, reporter)
    assert [event["timesteps"] for event in reporter.of("checkpoint")] == [4800]  # the end only


class Bomb:
    """Runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self._mark,))


@pytest.mark.parametrize("part", ["parameters.safetensors", "counters.json"])
def test_pickled_code_in_a_checkpoint_is_refused_and_not_run(part: str, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    bomb = pickle.dumps(Bomb(mark))
    pickle.loads(bomb)
    assert mark.exists(), "the bomb must work, or this test shows nothing"
    mark.unlink()
    plan = small_plan()
    with pytest.raises(Killed):
        run(plan, tmp_path / "cut", KilledAt(1600))
    folder = LocalStorage(tmp_path / "cut" / CHECKPOINTS)
    parts = {name: (tmp_path / "cut" / CHECKPOINTS / "000000001600" / name).read_bytes() for name in PARTS}
    # Whoever can write to the bucket can write a manifest that fits.
    Checkpoints(folder, keep=9).store(1600, parts | {part: bomb}, {"identity": plan.identity, "seconds": 0})

    with pytest.raises(Exception, match=r".+"):
        run(plan, tmp_path / "cut")
    assert not mark.exists()


def test_a_checkpoint_of_another_training_is_refused_with_what_differs(tmp_path: Path) -> None:
    run(small_plan(timesteps=1600), tmp_path)
    with pytest.raises(UsageError, match="another training: environment"):
        run(small_plan("MountainCar-v0"), tmp_path)
    with pytest.raises(UsageError, match="hyperparameters"):
        run(small_plan(gamma=0.5), tmp_path)


def test_the_manifest_names_sizes_and_hashes_of_every_part(tmp_path: Path) -> None:
    Checkpoints(LocalStorage(tmp_path), keep=3).store(100, PARTS, {})
    manifest = json.loads((tmp_path / "000000000100" / "manifest.json").read_text())
    assert manifest["parts"]["counters.json"] == {
        "bytes": 2,
        "sha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    }

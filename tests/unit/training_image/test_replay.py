"""Replay buffers in checkpoints: blocks written once, in the background, and dropped when nobody needs them."""

import threading
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from stable_baselines3 import SAC
from stable_baselines3.common.vec_env import DummyVecEnv

from contract.layout import CHECKPOINTS
from tests.unit.training_image.helpers import Killed, KilledAt, Recorder, fingerprint, run, small_plan
from training_image.trainer.recovery import replay
from training_image.trainer.recovery.checkpoints import BLOCKS, Checkpoints
from training_image.trainer.recovery.replay import Replay
from training_image.trainer.storage import LocalStorage

HYPERPARAMETERS = {
    "net_arch": [8],
    "buffer_size": 1000,
    "batch_size": 16,
    "learning_starts": 100,
    "train_freq": 16,
    "gradient_steps": 1,
}


def plan(**changes: Any) -> Any:
    return small_plan("Pendulum-v1", algorithm="td3", timesteps=4000, **HYPERPARAMETERS, **changes)


def blocks(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / CHECKPOINTS / BLOCKS).iterdir())


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "BLOCK", 300)


def test_blocks_that_no_kept_checkpoint_needs_are_removed(tmp_path: Path) -> None:
    run(plan(keep=1), tmp_path)
    # Of 4000 steps the buffer has the last 1000: the end of block 10, blocks 11 and 12, and the tail.
    assert [int(name.split("-")[0]) for name in blocks(tmp_path)] == [10, 11, 12]


def test_a_damaged_block_falls_back_to_a_checkpoint_without_it(tmp_path: Path) -> None:
    run(plan(), tmp_path / "whole")
    with pytest.raises(Killed):
        run(plan(), tmp_path / "cut", KilledAt(1600))
    newest = tmp_path / "cut" / CHECKPOINTS / BLOCKS / blocks(tmp_path / "cut")[-1] / "rows.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    resumed = Recorder()
    run(plan(), tmp_path / "cut", resumed)
    assert resumed.of("started")[0]["timesteps"] == 800
    assert any("000000001600 is passed over" in line for line in resumed.lines)
    assert fingerprint(tmp_path / "cut") == fingerprint(tmp_path / "whole")


def test_a_full_block_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    store = Checkpoints.store_block

    def counting(self: Checkpoints, number: int, data: bytes) -> str:
        written.append(number)
        return store(self, number, data)

    monkeypatch.setattr(Checkpoints, "store_block", counting)
    run(plan(), tmp_path)
    assert written == list(range(13))  # 4000 steps in blocks of 300


def test_an_error_while_writing_in_the_background_ends_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> str:
        raise OSError("no space left")

    monkeypatch.setattr(Checkpoints, "store_block", full)
    with pytest.raises(OSError, match="no space left"):
        run(plan(), tmp_path)


def test_a_million_transitions_are_checkpointed_without_stalling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filled in one go, where training would fill it block by block; what is measured is a checkpoint after that."""
    monkeypatch.setattr(replay, "BLOCK", 10_000)
    made = DummyVecEnv([lambda: gymnasium.make("Pendulum-v1")])
    model = SAC("MlpPolicy", made, buffer_size=1_000_000, policy_kwargs={"net_arch": [8]}, device="cpu")
    buffer = model.replay_buffer
    assert buffer is not None
    buffer.observations[:] = np.random.default_rng(0).normal(size=buffer.observations.shape)
    checkpoints = Checkpoints(LocalStorage(tmp_path), keep=2)
    kept = Replay(checkpoints.store_block)
    model.num_timesteps, buffer.full = 1_000_000, True
    parts = kept.capture(model)
    checkpoints.store(1_000_000, parts, {}, kept.blocks(parts))

    model.num_timesteps = 1_010_400  # training went on for a block and a bit
    begun = time.monotonic()
    parts = kept.capture(model)
    checkpoints.store(1_010_400, parts, {}, kept.blocks(parts))
    assert time.monotonic() - begun < 1.0
    kept.close()

    found = Checkpoints(LocalStorage(tmp_path), keep=2).newest(lambda _: None)
    assert found is not None
    assert len(found.blocks) == 100  # 1 to 100, of which the first is partly overwritten
    expected = buffer.observations.copy()
    buffer.observations[:] = 0
    again = Replay(checkpoints.store_block)
    again.restore(model, found.parts, found.blocks)
    np.testing.assert_array_equal(buffer.observations, expected)
    assert (buffer.pos, buffer.full) == (10_400, True)


def test_no_thread_is_left(tmp_path: Path) -> None:
    run(plan(), tmp_path)
    assert not [thread for thread in threading.enumerate() if thread.name == "replay-writer"]

"""A replay buffer, kept in blocks that are written once.

A checkpoint of a million transitions would be hundreds of megabytes, nearly all of it in the checkpoint before too. So
transitions are numbered from the first one on and cut into blocks of a fixed size. A full block never changes again: it
is written once, in the background, and every later checkpoint only names it. What is left, less than a block, is a part
of the checkpoint itself.
"""

import json
import queue
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from safetensors.numpy import load, save
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer

from training_image.trainer.envs.observations import Array

BLOCK = 10_000
"""Transitions in a block, of each copy of the environment."""

PREFILLED = "prefilled"
"""Attribute of a model: transitions of a log that were there, of each copy, before the first step."""

REPLAY = "replay.json"
TAIL = "replay.safetensors"

_ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
"""The first two are dictionaries of arrays where observations are a Dict: `observations/<key>`."""


class Replay:
    """The blocks of one training's replay buffer."""

    def __init__(self, write: Callable[[int, bytes], str]) -> None:
        """`write` stores a block's bytes, given its number, and returns its name. It is called in a thread."""
        self._writer = _Writer(write)
        self._begun: set[int] = set()

    def capture(self, model: BaseAlgorithm) -> dict[str, bytes]:
        """What belongs into a checkpoint itself. Blocks that have become full are copied and written meanwhile."""
        buffer = replay_buffer(model)
        if buffer is None:
            return {}
        prefilled = getattr(model, PREFILLED, 0)
        added, block = prefilled + model.num_timesteps // buffer.n_envs, min(BLOCK, buffer.buffer_size)
        document = {"added": added, "block": block, "capacity": buffer.buffer_size, "prefilled": prefilled}
        for number in _needed(document):
            if number not in self._begun:
                self._begun.add(number)
                self._writer.put(number, _rows(buffer, number * block, (number + 1) * block))
        return {REPLAY: json.dumps(document).encode(), TAIL: save(_rows(buffer, added // block * block, added))}

    def blocks(self, parts: dict[str, bytes]) -> list[str]:
        """Names of the blocks that a captured checkpoint needs, once they are written.

        Raises:
            Exception: whatever writing one raised.
        """
        if REPLAY not in parts:
            return []
        written = self._writer.finish()
        return [written[number] for number in _needed(json.loads(parts[REPLAY]))]

    def restore(self, model: BaseAlgorithm, parts: dict[str, bytes], blocks: dict[str, bytes]) -> None:
        """Put the transitions back: `blocks` by name, oldest first, as `blocks` named them."""
        buffer = replay_buffer(model)
        if buffer is None:
            return
        document = json.loads(parts[REPLAY])
        numbers = _needed(document)
        for number, (name, data) in zip(numbers, blocks.items(), strict=True):
            _put(buffer, number * document["block"], load(data), document["added"])
            self._begun.add(number)
            self._writer.written[number] = name
        _put(buffer, document["added"] // document["block"] * document["block"], load(parts[TAIL]), document["added"])
        setattr(model, PREFILLED, document.get("prefilled", 0))
        buffer.pos = document["added"] % buffer.buffer_size
        buffer.full = document["added"] >= buffer.buffer_size

    def close(self) -> None:
        """Let what is being written be written."""
        self._writer.close()


def replay_buffer(model: BaseAlgorithm) -> ReplayBuffer | None:
    """The model's replay buffer, if it has one."""
    buffer: ReplayBuffer | None = getattr(model, "replay_buffer", None)
    return buffer


def _needed(document: dict[str, int]) -> range:
    """Numbers of the full blocks that hold something the buffer still has."""
    oldest = max(document["added"] - document["capacity"], 0)
    return range(oldest // document["block"], document["added"] // document["block"])


def _rows(buffer: ReplayBuffer, first: int, end: int) -> dict[str, Any]:
    """Copies of the transitions from number `first` to before `end`. Those of them that the buffer has overwritten
    are something else by now; nobody will ask for them."""
    slots = np.arange(first, end) % buffer.buffer_size
    return {name: array[slots] for name, array in _arrays(buffer).items()}


def _put(buffer: ReplayBuffer, first: int, rows: dict[str, Any], added: int) -> None:
    skipped = max(added - buffer.buffer_size - first, 0)
    slots = np.arange(first + skipped, first + len(rows["rewards"])) % buffer.buffer_size
    for name, array in _arrays(buffer).items():
        array[slots] = rows[name][skipped:]


def _arrays(buffer: ReplayBuffer) -> dict[str, Array]:
    """All that a buffer remembers, by name."""
    arrays: dict[str, Array] = {}
    for name in _ARRAYS:
        array = getattr(buffer, name)
        arrays |= {f"{name}/{key}": part for key, part in array.items()} if isinstance(array, dict) else {name: array}
    return arrays


class _Writer:
    """Writes blocks in a thread of its own, in the order they come."""

    def __init__(self, write: Callable[[int, bytes], str]) -> None:
        self.written: dict[int, str] = {}
        self._write = write
        self._waiting: queue.Queue[tuple[int, dict[str, Any]] | None] = queue.Queue(maxsize=4)
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None

    def put(self, number: int, rows: dict[str, Any]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="replay-writer", daemon=True)
            self._thread.start()
        self._waiting.put((number, rows))

    def finish(self) -> dict[int, str]:
        """Names of all blocks, by their numbers, when the last is written."""
        self._waiting.join()
        if self._error is not None:
            raise self._error
        return self.written

    def close(self) -> None:
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None:
            number, rows = item
            try:
                if self._error is None:
                    self.written[number] = self._write(number, save(rows))
            except Exception as error:
                self._error = error
            self._waiting.task_done()
        self._waiting.task_done()

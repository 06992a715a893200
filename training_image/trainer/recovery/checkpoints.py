"""Checkpoints: parts first, then a manifest of their sizes and hashes. Without its manifest a checkpoint is not one.

Blocks are what several checkpoints share. They lie beside them, and stay as long as a manifest names them.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from training_image.trainer.recovery.state import Parts
from training_image.trainer.storage import Storage

MANIFEST = "manifest.json"
BLOCKS = "blocks"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A complete checkpoint. `about` is whatever its writer noted beside the parts."""

    timesteps: int
    parts: Parts
    blocks: Parts
    about: dict[str, Any]


class Checkpoints:
    """The checkpoints of one training, in a folder of their own."""

    def __init__(self, storage: Storage, *, keep: int) -> None:
        self._storage = storage
        self._keep = keep
        self._complete: int | None = None
        self._known: dict[str, _Entry] = {}

    def newest(self, warn: Callable[[str], None]) -> Checkpoint | None:
        """The newest checkpoint that is complete and undamaged; each one passed over is warned of."""
        for folder in reversed(self._folders()):
            try:
                checkpoint = self._read(folder)
            except _DamagedError as damage:
                warn(f"checkpoint {folder} is passed over: {damage}")
                continue
            self._complete = checkpoint.timesteps
            return checkpoint
        return None

    def store_block(self, number: int, data: bytes) -> str:
        """Write a block, under a name that says what is in it; returns the name. Safe to call from another thread."""
        entry = _entry(data)
        name = f"{number:08d}-{entry['sha256'][:16]}"
        self._storage.write(_block_key(name), data)
        self._known[name] = entry
        return name

    def store(self, timesteps: int, parts: Parts, about: dict[str, Any], blocks: Sequence[str] = ()) -> bool:
        """Write a checkpoint that needs these blocks, then remove those beyond the number to keep.

        Returns False, and writes nothing, when the checkpoint of this step is there already.
        """
        if timesteps == self._complete:
            return False
        folder = _folder(timesteps)
        for name, data in parts.items():
            self._storage.write(f"{folder}/{name}", data)
        manifest = {
            "format": 2,
            "timesteps": timesteps,
            "parts": {name: _entry(data) for name, data in parts.items()},
            "blocks": {name: self._known[name] for name in blocks},
            "about": about,
        }
        self._storage.write(f"{folder}/{MANIFEST}", json.dumps(manifest, indent=1).encode())
        self._complete = timesteps
        self._remove_old(folder)
        return True

    def _read(self, folder: str) -> Checkpoint:
        document = self._storage.read(f"{folder}/{MANIFEST}")
        if document is None:
            raise _DamagedError("it has no manifest, so it was never finished")
        try:
            manifest = json.loads(document)
            timesteps, about = int(manifest["timesteps"]), dict(manifest["about"])
            parts = {str(name): _read_entry(entry) for name, entry in manifest["parts"].items()}
            blocks = {str(name): _read_entry(entry) for name, entry in manifest.get("blocks", {}).items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _DamagedError(f"its manifest cannot be read: {error!r}") from error
        found = Checkpoint(
            timesteps=timesteps,
            parts=self._verified(parts, lambda name: f"{folder}/{name}"),
            blocks=self._verified(blocks, _block_key),
            about=about,
        )
        self._known |= blocks
        return found

    def _verified(self, expected: "dict[str, _Entry]", key: Callable[[str], str]) -> Parts:
        found = {}
        for name, entry in expected.items():
            data = self._storage.read(key(name))
            if data is None:
                raise _DamagedError(f"{name} is missing")
            if _entry(data) != entry:
                raise _DamagedError(f"{name} is not what the manifest says")
            found[name] = data
        return found

    def _remove_old(self, newest: str) -> None:
        """Keep the newest ones up to the one just written; any after it are damaged ones, passed over."""
        folders = self._folders()
        kept = [folder for folder in folders if folder <= newest][-self._keep :]
        for folder in folders:
            if folder not in kept:
                self._storage.delete(folder)
        if self._known:
            self._remove_unnamed(kept)

    def _remove_unnamed(self, kept: list[str]) -> None:
        """Remove blocks that no checkpoint needs any more: they are older than the buffer reaches back."""
        named: set[str] = set()
        for folder in kept:
            manifest = json.loads(self._storage.read(f"{folder}/{MANIFEST}") or b"{}")
            named |= set(manifest.get("blocks", {}))
        oldest = min(named, default="")
        for name in [name for name in self._known if name < oldest]:
            self._storage.delete(f"{BLOCKS}/{name}")
            del self._known[name]

    def _folders(self) -> list[str]:
        """Oldest first, finished or not."""
        return sorted({folder for key in self._storage.keys("") if (folder := key.split("/")[0]).isdigit()})


def _block_key(name: str) -> str:
    return f"{BLOCKS}/{name}/rows.safetensors"


class _DamagedError(Exception):
    """Why a checkpoint cannot be used."""


def _folder(timesteps: int) -> str:
    return f"{timesteps:012d}"


class _Entry(TypedDict):
    """What a manifest says of a part."""

    bytes: int
    sha256: str


def _read_entry(entry: dict[str, Any]) -> _Entry:
    return _Entry(bytes=int(entry["bytes"]), sha256=str(entry["sha256"]))


def _entry(data: bytes) -> _Entry:
    return _Entry(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

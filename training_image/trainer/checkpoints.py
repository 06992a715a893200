"""Checkpoints: parts first, then a manifest of their sizes and hashes. Without its manifest a checkpoint is not one."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from training_image.trainer.state import Parts
from training_image.trainer.storage import Storage

MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A complete checkpoint. `about` is whatever its writer noted beside the parts."""

    timesteps: int
    parts: Parts
    about: dict[str, Any]


class Checkpoints:
    """The checkpoints of one training, in a folder of their own."""

    def __init__(self, storage: Storage, *, keep: int) -> None:
        self._storage = storage
        self._keep = keep
        self._complete: int | None = None

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

    def store(self, timesteps: int, parts: Parts, about: dict[str, Any]) -> bool:
        """Write a checkpoint, then remove those beyond the number to keep.

        Returns False, and writes nothing, when the checkpoint of this step is there already.
        """
        if timesteps == self._complete:
            return False
        folder = _folder(timesteps)
        for name, data in parts.items():
            self._storage.write(f"{folder}/{name}", data)
        manifest = {
            "format": 1,
            "timesteps": timesteps,
            "parts": {name: {"bytes": len(data), "sha256": _sha256(data)} for name, data in parts.items()},
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
            expected = {str(name): (entry["bytes"], entry["sha256"]) for name, entry in manifest["parts"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _DamagedError(f"its manifest cannot be read: {error!r}") from error
        parts = {}
        for name, (size, digest) in expected.items():
            data = self._storage.read(f"{folder}/{name}")
            if data is None:
                raise _DamagedError(f"{name} is missing")
            if len(data) != size or _sha256(data) != digest:
                raise _DamagedError(f"{name} is not what the manifest says")
            parts[name] = data
        return Checkpoint(timesteps=timesteps, parts=parts, about=about)

    def _remove_old(self, newest: str) -> None:
        """Keep the newest ones up to the one just written; any after it are damaged ones, passed over."""
        folders = self._folders()
        kept = [folder for folder in folders if folder <= newest][-self._keep :]
        for folder in folders:
            if folder not in kept:
                self._storage.delete(folder)

    def _folders(self) -> list[str]:
        """Oldest first, finished or not."""
        return sorted({folder for key in self._storage.keys("") if (folder := key.split("/")[0]).isdigit()})


class _DamagedError(Exception):
    """Why a checkpoint cannot be used."""


def _folder(timesteps: int) -> str:
    return f"{timesteps:012d}"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

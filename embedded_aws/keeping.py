"""What outlives an instance, by choice (`--keep`): it is in a folder before anybody is told of it.

ministack writes each object of S3 as it is stored, and can write what its other services hold. That is done here while
they run and not only at their end: an item before its write is answered, an execution before it has ended for anybody,
and everything else within a second or so. So kill -9 loses no object, no item and no finished run.
"""

import contextlib
import copy
import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from embedded_aws import hooks

FOLDER = "kept"
"""In the state folder."""

SAVED = "saved"
"""The file of that folder that is touched after each save."""

_APP = "app"
_STATES = "services.stepfunctions"
_EVERY_SECONDS = 1.0
_READING = ("GetItem", "Query", "Scan", "BatchGetItem", "TransactGetItems")
_log = logging.getLogger("embedded_aws")


def environment(folder: Path) -> dict[str, str]:
    """What tells ministack where to keep what, before it is imported."""
    return {
        "PERSIST_STATE": "1",
        "STATE_DIR": str(folder / "services"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(folder / "objects"),
    }


class Kept:
    """A service of ours that the next instance takes up as it was: the dictionaries `_<name>` of all names in KEPT."""

    KEPT: ClassVar[tuple[str, ...]]
    _lock: threading.RLock

    def kept(self) -> dict[str, Any]:
        """All that there is, for `restore`."""
        with self._lock:
            return copy.deepcopy({name: getattr(self, f"_{name}") for name in self.KEPT})

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what an instance before had."""
        with self._lock:
            for name in self.KEPT:
                getattr(self, f"_{name}").update(state.get(name, {}))


class Keeper:
    """Saves what services hold, and gives it back to the next instance in the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._executions = folder / "executions"
        self._executions.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._asked = threading.Event()
        self.interrupted: list[str] = []
        """The executions that the instance before was in the middle of."""

    def install(self) -> None:
        """Save items with their writes, and take up what was kept."""
        self._save_items()
        self._restore_executions()

    def start(self) -> None:
        """Save everything now and then, by a thread of its own."""
        threading.Thread(target=self._save_for_ever, name="keeper", daemon=True).start()

    def watch(self, application: Any) -> Any:
        """The ASGI application; whatever it is asked may change something that is to be saved."""

        async def watched(scope: Any, receive: Any, send: Any) -> None:
            self._asked.set()
            await application(scope, receive, send)
            self._asked.set()

        return watched

    def save(self, *services: str) -> None:
        """Save these services, or all of them."""
        with self._lock:
            for name, state in hooks.states_of_services().items():
                if not services or name in services:
                    hooks.save_state(name, _read(state))
            if not services:
                (self._folder / SAVED).touch()

    def keep_ended(self, execution: dict[str, Any]) -> None:
        """Keep an execution that is about to have ended."""
        path = self._path_of(execution)
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps(execution))
        unfinished.replace(path)
        self._asked.set()

    def _path_of(self, execution: dict[str, Any]) -> Path:
        name = hashlib.sha256(execution["executionArn"].encode()).hexdigest()
        return self._executions / f"{name}.json"

    def _save_for_ever(self) -> None:
        pause = _EVERY_SECONDS
        while True:
            self._asked.wait()
            time.sleep(pause)
            self._asked.clear()
            began = time.monotonic()
            try:
                self.save()
            except Exception:
                _log.exception("not everything was saved")
            pause = max(_EVERY_SECONDS, 10 * (time.monotonic() - began))

    def _save_items(self) -> None:
        handlers = hooks.private(_APP, "SERVICE_HANDLERS")
        answer = handlers["dynamodb"]

        async def answer_when_saved(method: str, path: str, headers: dict[str, str], *rest: Any) -> Any:
            given = await answer(method, path, headers, *rest)
            if headers.get("x-amz-target", "").rpartition(".")[2] not in _READING:
                self.save("dynamodb")
            return given

        handlers["dynamodb"] = answer_when_saved

    def _restore_executions(self) -> None:
        """Executions that had ended are as they were; those that had not are aborted: nothing can go on with them."""
        restore = hooks.private(_STATES, "_restore_state")

        def restore_state(data: dict[str, Any] | None) -> None:
            known = hooks.private(_STATES, "_executions")
            running = [
                e["executionArn"]
                for e in ((data or {}).get("executions") or known).all_values()
                if e["status"] == "RUNNING"
            ]
            restore(data)
            for path in self._executions.glob("*.json"):
                ended = json.loads(path.read_text())
                known[ended["executionArn"]] = ended
            for arn in running:
                if known[arn].get("error") == "States.ServiceRestart":
                    cause = "The embedded AWS ended while the execution ran."
                    known[arn].update(status="ABORTED", error="EmbeddedAws.Ended", cause=cause)
                    self.interrupted.append(arn)

        hooks.replace(_STATES, "_restore_state", restore_state)


def _read(state: Callable[[], Any]) -> Any:
    """What a service holds, also when it changes at this very moment."""
    for _ in range(20):
        with contextlib.suppress(RuntimeError):  # a dictionary changed while it was copied
            return state()
        time.sleep(0.01)
    return state()

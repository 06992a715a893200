"""training.json: what was trained, how far it is, and how each attempt ended."""

import json
from datetime import UTC, datetime
from typing import Any

from contract.events import Progress
from contract.layout import TRAINING_SUMMARY
from contract.outcomes import ExitCode
from training_image.trainer.errors import UsageError
from training_image.trainer.plan import Plan
from training_image.trainer.policies.model import versions
from training_image.trainer.recovery.checkpoints import Checkpoint
from training_image.trainer.recovery.stopping import price_per_hour
from training_image.trainer.storage import Storage


class Summary:
    """The training.json of one training, over all its attempts."""

    def __init__(self, plan: Plan, storage: Storage) -> None:
        self._plan = plan
        self._storage = storage
        self._previous: dict[str, Any] = json.loads(storage.read(TRAINING_SUMMARY) or b"{}")
        self.document: dict[str, Any] = self._previous

    @property
    def is_finished(self) -> bool:
        """Whether an earlier attempt finished this very training."""
        return (
            self._previous.get("exit_code") == ExitCode.DONE
            and self._previous["identity"] == self._plan.identity
            and self._previous["total_timesteps"] >= self._plan.specification.timesteps
        )

    def begin(self, resume: Checkpoint | None) -> None:
        """Note that an attempt begins, so that one that is killed is counted too.

        Raises:
            UsageError: when what lies there is of another training.
        """
        before = self._previous
        self._check_same(resume.about["identity"] if resume else before.get("identity", self._plan.identity))
        interruptions = before.get("interruptions", [])
        if before:
            reason = before["reason"] or "the process ended without a word"
            interruptions = [*interruptions, {"timesteps": before["timesteps"], "reason": reason}]
        self.seconds = max(before.get("wall_seconds", 0.0), resume.about["seconds"] if resume else 0.0)
        self.document = {
            "format": 1,
            "run_id": self._plan.run_id,
            "seed": self._plan.seed,
            "identity": self._plan.identity,
            "specification": self._plan.specification.model_dump(),
            "total_timesteps": self._plan.specification.timesteps,
            "timesteps": resume.timesteps if resume else 0,
            "attempts": before.get("attempts", 0) + 1,
            "interruptions": interruptions,
            "started_at": before.get("started_at") or _now(),
            "ended_at": None,
            "wall_seconds": self.seconds,
            "price_per_hour": price_per_hour(),
            "steps_per_second": None,
            "mean_return": None,
            "mean_length": None,
            "versions": versions(),
            "exit_code": None,
            "reason": None,
        }
        self._write()

    def end(self, exit_code: ExitCode, reason: str, seconds: float, progress: Progress | None) -> None:
        """Note how the attempt ended; `progress` is None when training never began."""
        self.document |= {
            "ended_at": _now(),
            "wall_seconds": round(seconds, 3),
            "exit_code": int(exit_code),
            "reason": reason,
        }
        if progress is not None:
            known = ("timesteps", "steps_per_second", "mean_return", "mean_length")
            self.document |= {name: progress.get(name) for name in known}
        self._write()

    def _check_same(self, theirs: dict[str, Any]) -> None:
        ours = self._plan.identity
        if different := [
            f"{key} {theirs.get(key)} there, {ours[key]} here" for key in ours if theirs.get(key) != ours[key]
        ]:
            raise UsageError(f"{self._storage.uri} holds another training: {'; '.join(different)}")

    def _write(self) -> None:
        self._storage.write(TRAINING_SUMMARY, json.dumps(self.document, indent=1).encode())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")

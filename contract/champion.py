"""Who serves at an endpoint: `champions/<endpoint>.json`, written by whatever changes it, with every change in it."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

MAX_CHANGES = 200
"""Changes that are kept; the oldest go first."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


class Policy(_Model):
    """A policy that served, or serves; its configuration and its model in SageMaker have the run's name."""

    run_id: str
    model_package: str | None = Field(default=None, description="ARN of its version in the model registry.")
    verdict: str | None = Field(default=None, description="Key of the verdict that let it be deployed.")
    mean_return: float | None = Field(default=None, description="Mean return in validation.")


class Change(_Model):
    """One entry of the history."""

    at: str = Field(description="ISO 8601, UTC.")
    what: Literal["promoted", "kept", "rolled back", "off", "on", "deleted"]
    run_id: str = Field(description="The run whose policy serves, or would, after the change.")
    by: str = Field(description="`pipeline`, `schedule`, or who gave the command.")
    reason: str = ""


class Champion(Policy):
    """The policy that serves at an endpoint."""

    endpoint: str
    target: str = Field(default="sagemaker", description="Where it serves; `deploy.target` of its run.")
    since: str = Field(description="Since when this policy serves; ISO 8601, UTC.")
    before: str | None = Field(
        default=None, description="The run whose policy served before, and would after a rollback."
    )
    expires_at: str | None = Field(default=None, description="When `deploy.ttl_hours` are over and it is switched off.")
    on: bool = Field(default=True, description="Whether the endpoint is there; one that is off costs nothing.")
    kept: list[Policy] = Field(
        default=[], description="Policies that can serve at once, oldest first, this one included."
    )
    history: list[Change] = []

    @property
    def policy(self) -> Policy:
        """The one that serves, as it stands among those that are kept."""
        return Policy(**{name: getattr(self, name) for name in Policy.model_fields})

    def promoted(
        self, policy: Policy, *, at: str, target: str, keep: int, reason: str, expires_at: str | None = None
    ) -> Self:
        """With another policy in its place. What was rolled back from is not kept, nor are more than `keep`."""
        ids = [kept.run_id for kept in self.kept]
        older = self.kept[: ids.index(self.run_id) + 1] if self.run_id in ids else [self.policy]
        kept = [*(item for item in older if item.run_id != policy.run_id), policy][-keep:]
        serving = self._serving(policy, kept, at=at, target=target).model_copy(update={"expires_at": expires_at})
        return serving.changed("promoted", "pipeline", at, reason)

    def rolled_back(self, run_id: str, *, at: str, by: str, reason: str) -> Self:
        """With one of those that are kept in its place; those after it stay, so that this can be undone."""
        policy = next(kept for kept in self.kept if kept.run_id == run_id)
        return self._serving(policy, self.kept, at=at, target=self.target).changed("rolled back", by, at, reason)

    def changed(self, what: str, by: str, at: str, reason: str = "") -> Self:
        """With one more entry in its history."""
        change = Change.model_validate({"at": at, "what": what, "run_id": self.run_id, "by": by, "reason": reason})
        return self.model_copy(update={"history": [*self.history, change][-MAX_CHANGES:]})

    def switched(self, *, on: bool, by: str, at: str, reason: str = "") -> Self:
        """Switched on or off."""
        return self.model_copy(update={"on": on}).changed("on" if on else "off", by, at, reason)

    def _serving(self, policy: Policy, kept: list[Policy], *, at: str, target: str) -> Self:
        ids = [item.run_id for item in kept]
        position = ids.index(policy.run_id)
        return self.model_copy(
            update={
                **policy.model_dump(),
                "since": at,
                "before": ids[position - 1] if position else None,
                "kept": kept,
                "target": target,
                "on": True,
            }
        )


def first(
    policy: Policy, *, endpoint: str, target: str, at: str, reason: str, expires_at: str | None = None
) -> Champion:
    """The first policy of an endpoint."""
    champion = Champion(
        endpoint=endpoint, target=target, since=at, kept=[policy], expires_at=expires_at, **policy.model_dump()
    )
    return champion.changed("promoted", "pipeline", at, reason)

"""How a run can end, and what a container's exit code means. Every end of the state machine is a row here."""

from enum import IntEnum, StrEnum


class Outcome(StrEnum):
    """The named end of a run: the state machine's final state, `outcome.json` and the notification agree on it."""

    SUCCEEDED = "SUCCEEDED"
    INVALID = "INVALID"
    REJECTED = "REJECTED"
    STOPPED = "STOPPED"
    LIMIT = "LIMIT"
    ROLLED_BACK = "ROLLED_BACK"
    FAILED = "FAILED"

    @property
    def meaning(self) -> str:
        """One sentence for people: what happened to the run and what is left of it."""
        return _MEANINGS[self]


_MEANINGS = {
    Outcome.SUCCEEDED: "The policy was trained, passed validation and, unless deploy.target is none, serves.",
    Outcome.INVALID: "The run file was refused; nothing was trained. The reasons lie beside it in S3.",
    Outcome.REJECTED: "Validation said no, or the data were not fit to learn from; nothing was deployed.",
    Outcome.STOPPED: "Somebody stopped the run; its checkpoints are kept.",
    Outcome.LIMIT: "The run reached its time or cost limit; it was checkpointed first.",
    Outcome.ROLLED_BACK: "The new policy failed at its endpoint; the one before serves on.",
    Outcome.FAILED: "Something broke; the reason and the last log lines are in outcome.json.",
}


class ExitCode(IntEnum):
    """Exit codes of the containers and of the command line."""

    DONE = 0
    FAILED = 1
    """The run or the check failed."""
    USAGE = 2
    """The command or its input was wrong; trying again changes nothing."""
    LIMIT = 3
    """A limit of the run was reached; checkpointed, do not retry."""
    REJECTED = 4
    """The data of a run are not fit to learn from; the reasons are in dataset.json."""
    CHECKPOINTED = 75
    """EX_TEMPFAIL of sysexits.h: checkpointed and may be continued; Batch retries on it."""

"""What a person may do to a run, when, and what the pipeline itself may do: the one table of both.

A command is written into the run's record as its wish, if the table allows it there; the pipeline carries the wish
out at its next step and takes it away. The record is changed by conditional writes only, so of two commands at once
one is in the table's favour and the other is told so.
"""

from enum import StrEnum

from contract.outcomes import Outcome


class Command(StrEnum):
    """What a person may ask of a run; once accepted it is the run's wish until the pipeline has carried it out."""

    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    APPROVE = "approve"
    REJECT = "reject"

    @property
    def meaning(self) -> str:
        """One sentence for people."""
        return _MEANINGS[self]


_MEANINGS = {
    Command.PAUSE: "Checkpoint the run and free its instances until it is resumed.",
    Command.RESUME: "Go on with a paused run from its checkpoints, or with one that failed or was rolled back from "
    "the step where that happened.",
    Command.STOP: "End the run; its checkpoints are kept.",
    Command.APPROVE: "Deploy the policy that waits for approval.",
    Command.REJECT: "Keep the policy that waits for approval and do not deploy it.",
}


class Phase(StrEnum):
    """Where a run is. One that is over has the name of its outcome instead."""

    PREPARING = "PREPARING"
    TRAINING = "TRAINING"
    VALIDATING = "VALIDATING"
    PAUSED = "PAUSED"
    AWAITING_APPROVAL = "AWAITING_APPROVAL"
    DEPLOYING = "DEPLOYING"


State = Phase | Outcome

_NOTHING: frozenset[Command] = frozenset()
_WORKING = frozenset({Command.PAUSE, Command.STOP})
_LAST_WORD = frozenset({Command.STOP})

COMMANDS: dict[tuple[State, Command | None], frozenset[Command]] = {
    (Phase.PREPARING, None): _LAST_WORD,
    (Phase.TRAINING, None): _WORKING,
    (Phase.TRAINING, Command.PAUSE): _LAST_WORD,
    (Phase.VALIDATING, None): _WORKING,
    (Phase.VALIDATING, Command.PAUSE): _LAST_WORD,
    (Phase.PAUSED, None): frozenset({Command.RESUME, Command.STOP}),
    (Phase.PAUSED, Command.RESUME): _LAST_WORD,
    (Phase.AWAITING_APPROVAL, None): frozenset({Command.APPROVE, Command.REJECT, Command.PAUSE, Command.STOP}),
    (Phase.AWAITING_APPROVAL, Command.PAUSE): _LAST_WORD,
    (Outcome.FAILED, None): frozenset({Command.RESUME}),
    (Outcome.ROLLED_BACK, None): frozenset({Command.RESUME}),
}
"""The commands that change something, by state and wish. Where there is no entry, none does: a deployment is
finished once it is begun, since half of one serves nobody."""

STEPS: dict[State, frozenset[State]] = {
    Phase.PREPARING: frozenset({Phase.TRAINING, Outcome.REJECTED}),
    Phase.TRAINING: frozenset({Phase.VALIDATING, Phase.PAUSED, Outcome.LIMIT}),
    Phase.VALIDATING: frozenset(
        {Phase.AWAITING_APPROVAL, Phase.DEPLOYING, Phase.PAUSED, Outcome.SUCCEEDED, Outcome.REJECTED}
    ),
    Phase.PAUSED: frozenset({Phase.TRAINING, Phase.VALIDATING, Phase.DEPLOYING}),
    Phase.AWAITING_APPROVAL: frozenset({Phase.DEPLOYING, Phase.PAUSED, Outcome.REJECTED}),
    # A policy that was in the shadow is approved afterwards.
    Phase.DEPLOYING: frozenset({Phase.AWAITING_APPROVAL, Outcome.SUCCEEDED, Outcome.ROLLED_BACK}),
    Outcome.FAILED: frozenset({Phase.PREPARING, Phase.TRAINING, Phase.VALIDATING, Phase.DEPLOYING}),
    Outcome.ROLLED_BACK: frozenset({Phase.DEPLOYING}),
}
"""Where the pipeline may take a run from each state, besides `ANYWHERE`. Of two ends a run goes on when it is resumed;
every other one is final."""

ANYWHERE: frozenset[State] = frozenset({Outcome.STOPPED, Outcome.FAILED})
"""Ends that a run may come to from every phase: an execution may be aborted, and anything may break."""

_ALREADY: dict[Command, State] = {Command.PAUSE: Phase.PAUSED, Command.STOP: Outcome.STOPPED}


def possible(state: State, wish: Command | None) -> list[Command]:
    """The commands that would change something now, in the order of their definition."""
    allowed = COMMANDS.get((state, wish), _NOTHING)
    return [command for command in Command if command in allowed]


def is_repeated(state: State, wish: Command | None, command: Command) -> bool:
    """Whether the command was accepted before and is being, or has been, carried out: to repeat it is no error."""
    return wish is command or (wish is None and _ALREADY.get(command) is state)


def may_step(before: State, after: State) -> bool:
    """Whether the pipeline may take a run from one state to another."""
    return after in STEPS.get(before, frozenset()) | (ANYWHERE if isinstance(before, Phase) else frozenset())


def state_of(name: str) -> State:
    """The state of this name. Raises ValueError when there is none."""
    return Phase(name) if name in Phase.__members__ else Outcome(name)

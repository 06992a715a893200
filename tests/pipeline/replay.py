"""A run's history, read again by a model of what people and the pipeline may do."""

from typing import Any

from contract.control import Command, Phase, State, may_step, possible, state_of
from contract.outcomes import Outcome

LED_BY: dict[tuple[State, State], Command] = {
    (Phase.TRAINING, Phase.PAUSED): Command.PAUSE,
    (Phase.VALIDATING, Phase.PAUSED): Command.PAUSE,
    (Phase.AWAITING_APPROVAL, Phase.PAUSED): Command.PAUSE,
    (Phase.PAUSED, Phase.TRAINING): Command.RESUME,
    (Phase.PAUSED, Phase.VALIDATING): Command.RESUME,
    (Phase.PAUSED, Phase.DEPLOYING): Command.RESUME,
    (Phase.AWAITING_APPROVAL, Phase.DEPLOYING): Command.APPROVE,
    (Phase.AWAITING_APPROVAL, Outcome.REJECTED): Command.REJECT,
    (Outcome.FAILED, Phase.TRAINING): Command.RESUME,
    (Outcome.FAILED, Phase.VALIDATING): Command.RESUME,
    (Outcome.FAILED, Phase.DEPLOYING): Command.RESUME,
    (Outcome.ROLLED_BACK, Phase.DEPLOYING): Command.RESUME,
}
"""Steps that the pipeline takes only because somebody wished it."""


class Replay:
    """A run as its history tells of it."""

    def __init__(self) -> None:
        self.state: State | None = None
        self.wish: Command | None = None
        self.accepted: list[Command] = []
        """What people wished, in its order; what the pipeline wished itself is not among it."""

    def read(self, record: dict[str, Any]) -> "Replay":
        """Go through a record's history. Raises AssertionError at what may not be, or is not explained."""
        for number, change in enumerate(record["history"]):
            try:
                self.go_on(change)
            except AssertionError as error:
                story = "\n".join(f"{'>' if at == number else ' '} {it}" for at, it in enumerate(record["history"]))
                raise AssertionError(f"{record['run_id']}: {error}\n{story}") from None
        assert self.state == record["state"], f"the history ends with {self.state}, the record says {record['state']}"
        assert self.wish == record["wish"], f"the history leaves {self.wish} wished, the record says {record['wish']}"
        return self

    def go_on(self, change: dict[str, Any]) -> None:
        """Take one entry of the history."""
        if change["wish"]:
            self._wish(Command(change["wish"]), change["by"])
        elif change["state"]:
            self._step(state_of(change["state"]))
        else:
            assert self.state in (Outcome.FAILED, Outcome.ROLLED_BACK), "only what cannot go on is noted otherwise"
            self.wish = None

    def _wish(self, wish: Command, by: str) -> None:
        assert self.state is not None, "nobody wishes before there is a run"
        assert wish in possible(self.state, self.wish), f"{wish} makes no sense while {self.state}, {self.wish} wished"
        self.wish = wish
        if by != "pipeline":
            self.accepted.append(wish)

    def _step(self, after: State) -> None:
        before, wish = self.state, self.wish
        self.state, self.wish = after, None
        if before is None:
            assert after is Phase.TRAINING or isinstance(after, Outcome), "a run begins by training, or not at all"
            return
        assert may_step(before, after), f"{before} -> {after}"
        if (before, after) in LED_BY:
            assert wish is LED_BY[before, after], f"{before} -> {after} while {wish} is wished"
        elif after is Outcome.STOPPED:
            assert wish is Command.STOP, f"stopped while {wish} is wished"
        elif isinstance(after, Phase):
            assert wish is None, f"{after} is entered over the wish {wish}"

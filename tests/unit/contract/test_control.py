"""The table of commands, walked by a model: whatever order things come in, no wish is lost and no run is stuck."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from contract.control import ANYWHERE, COMMANDS, STEPS, Command, Phase, State, is_repeated, may_step, possible, state_of
from contract.outcomes import Outcome
from contract.record import Change, read_record

RESUMABLE = {
    Outcome.FAILED: [Phase.PREPARING, Phase.TRAINING, Phase.VALIDATING, Phase.DEPLOYING],
    Outcome.ROLLED_BACK: [Phase.DEPLOYING],
}
"""The ends from which a run may go on, and where."""

POSITIONS = [(state, wish) for state in (*Phase, *Outcome) for wish in (None, *Command)]


def test_every_phase_can_be_reached_and_left() -> None:
    reached = {Phase.PREPARING, Phase.TRAINING} | {after for steps in STEPS.values() for after in steps}
    assert set(Phase) <= reached
    assert set(STEPS) == {*Phase, *RESUMABLE}
    # INVALID ends a run before it has a phase.
    assert set(Outcome) == {after for after in reached | ANYWHERE if isinstance(after, Outcome)} | {Outcome.INVALID}


@pytest.mark.parametrize(("state", "wish"), POSITIONS)
def test_over_is_over_unless_it_broke(state: State, wish: Command | None) -> None:
    if isinstance(state, Outcome):
        assert possible(state, wish) == ([Command.RESUME] if state in RESUMABLE and wish is None else [])
        assert [after for after in (*Phase, *Outcome) if may_step(state, after)] == RESUMABLE.get(state, [])


@pytest.mark.parametrize(("state", "wish"), COMMANDS)
def test_a_run_that_goes_on_and_is_not_being_deployed_can_be_stopped(state: State, wish: Command | None) -> None:
    if isinstance(state, Phase):
        assert Command.STOP in possible(state, wish)


@pytest.mark.parametrize(("state", "wish"), POSITIONS)
@pytest.mark.parametrize("command", Command)
def test_what_is_repeated_changes_nothing(state: State, wish: Command | None, command: Command) -> None:
    if is_repeated(state, wish, command):
        assert command not in possible(state, wish)


def test_states_are_known_by_their_names() -> None:
    assert [state_of(str(state)) for state in (*Phase, *Outcome)] == [*Phase, *Outcome]
    with pytest.raises(ValueError, match="DANCING"):
        state_of("DANCING")


class Run(RuleBasedStateMachine):
    """A run between people, who give any command at any time, and the pipeline, as its definition has it.

    The pipeline looks at the wish where the definition does: on entering a phase, by the condition of the write, and
    after a job failed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.state: State = Phase.TRAINING
        self.wish: Command | None = None
        self.came_from: Phase = Phase.TRAINING
        self.history: list[State] = [self.state]
        self.promised: Command | None = None
        """The last command that was accepted and not yet carried out."""

    def enter(self, state: State) -> None:
        assert may_step(self.state, state), f"{self.state} -> {state}"
        self.state = state
        self.history.append(state)

    @rule(command=st.sampled_from(Command))
    def is_commanded(self, command: Command) -> None:
        if command in possible(self.state, self.wish):
            self.wish = self.promised = command

    @precondition(lambda self: self.state in (Phase.TRAINING, Phase.VALIDATING))
    @rule(succeeds=st.booleans())
    def job_ends(self, succeeds: bool) -> None:
        if self.wish is not None:
            self._carry_out()
        elif self.state is Phase.TRAINING:
            self.enter(Phase.VALIDATING if succeeds else Outcome.LIMIT)
        else:
            self.enter(Phase.DEPLOYING if succeeds else Outcome.REJECTED)

    @precondition(lambda self: self.state is Phase.VALIDATING and self.wish is None)
    @rule()
    def asks_for_approval(self) -> None:
        self.enter(Phase.AWAITING_APPROVAL)

    @precondition(lambda self: self.state in (Phase.PAUSED, Phase.AWAITING_APPROVAL) and self.wish is not None)
    @rule()
    def wakes(self) -> None:
        self._carry_out()

    @precondition(lambda self: self.state in (Phase.PAUSED, Phase.AWAITING_APPROVAL) and self.wish is None)
    @rule()
    def waits_too_long(self) -> None:
        self.wish = Command.STOP if self.state is Phase.PAUSED else Command.REJECT
        assert self.wish in possible(self.state, None), "the pipeline's own wishes are in the table too"
        self._carry_out()

    @precondition(lambda self: self.state is Phase.DEPLOYING)
    @rule(serves=st.booleans())
    def is_deployed(self, serves: bool) -> None:
        self.came_from = Phase.DEPLOYING
        self.enter(Outcome.SUCCEEDED if serves else Outcome.ROLLED_BACK)

    @precondition(lambda self: isinstance(self.state, Phase) and self.state is not Phase.PAUSED)
    @rule()
    def breaks(self) -> None:
        assert isinstance(self.state, Phase)
        self.came_from = Phase.VALIDATING if self.state is Phase.AWAITING_APPROVAL else self.state
        self.wish = self.promised = None
        self.enter(Outcome.FAILED)

    @precondition(lambda self: self.state in RESUMABLE and self.wish is not None)
    @rule(can=st.booleans())
    def is_redriven(self, can: bool) -> None:
        if can:
            self._carry_out()
        else:
            self.wish = self.promised = None

    def _carry_out(self) -> None:
        wish, self.wish = self.wish, None
        if self.promised is not None:
            assert wish is self.promised, "a wish that was accepted is carried out, or overruled by a later one"
        self.promised = None
        if wish is Command.PAUSE:
            assert isinstance(self.state, Phase)
            # One that waits for approval asks for it again.
            self.came_from = Phase.VALIDATING if self.state is Phase.AWAITING_APPROVAL else self.state
            self.enter(Phase.PAUSED)
        elif wish is Command.RESUME:
            self.enter(self.came_from)
        else:
            ends: dict[Command | None, State] = {
                Command.STOP: Outcome.STOPPED,
                Command.APPROVE: Phase.DEPLOYING,
                Command.REJECT: Outcome.REJECTED,
            }
            self.enter(ends[wish])

    @invariant()
    def a_wish_is_one_that_the_pipeline_can_carry_out_here(self) -> None:
        if self.wish is not None:
            assert any(state is self.state and self.wish in allowed for (state, _), allowed in COMMANDS.items())

    @invariant()
    def what_is_over_wants_nothing(self) -> None:
        if isinstance(self.state, Outcome):
            assert self.wish in ((None, Command.RESUME) if self.state in RESUMABLE else (None,))


TestRun = Run.TestCase
TestRun.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)


def test_a_record_adds_up_what_its_seeds_and_jobs_say() -> None:
    item = {
        "run_id": "r-1",
        "experiment": "r",
        "state": "TRAINING",
        "wish": "pause",
        "submitted_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
        "seeds": [0, 1],
        "price_per_hour": 3.6,
        "jobs": {
            "seed-0": {"job_id": "a", "status": "RUNNING", "since": "x", "started_at": 1_000_000},
            "seed-1": {"job_id": "b", "status": "FAILED", "since": "x", "started_at": 1_000_000},
            "validate": {"job_id": "c", "status": "RUNNING", "since": "x", "started_at": 0},
        },
        "progress": {
            "seed-0": {"timesteps": 10, "mean_return": 5.0, "seconds": 100.0, "attempts": 2},
            "seed-1": {"timesteps": 20, "mean_return": None, "seconds": 50.0, "attempts": 1},
        },
        "history": [{"at": "x", "by": "root", "wish": "pause", "reason": "paused by root"}],
    }
    record = read_record(item, now_ms=1_010_000)
    assert (record.timesteps, record.attempts, record.mean_return) == (30, 3, 5.0)
    assert record.cost_usd == pytest.approx((100 + 50 + 10) / 1000)
    assert record.possible == [Command.STOP]
    assert record.history == [Change(at="x", by="root", wish=Command.PAUSE, reason="paused by root")]
    assert not record.is_over

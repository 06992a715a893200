"""Many commands at once: whatever order they come in, each run is somewhere legal and its history says why."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from contract import control
from contract.control import Command
from contract.outcomes import Outcome
from tests.pipeline.laptop import QUICK, Laptop, until
from tests.pipeline.replay import Replay

MANUAL = QUICK + "deploy: {approval: manual}"
SHORT, LONG = (4, 40), (20, 200)
"""Runs and commands, of every test run and with --long."""

AT_ONCE = 16
Answer = tuple[str, Command, int]
"""A run, what it was told and the status of the answer."""

LAST_WORDS = {
    control.Phase.PAUSED: (Command.RESUME, Command.STOP),
    control.Phase.AWAITING_APPROVAL: (Command.APPROVE, Command.REJECT, Command.STOP),
}
"""What is said to a run that the storm has left waiting."""


@pytest.fixture
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    return LONG if request.config.getoption("--long") else SHORT


@pytest.mark.timeout(1800)
def test_a_storm_of_commands_leaves_every_run_in_a_legal_state(laptop: Laptop, size: tuple[int, int]) -> None:
    runs, commands = size
    chance = random.Random(runs)
    ids = [laptop.drop(f"storm-{number}", MANUAL) for number in range(runs)]
    # Some wait for approval by then, some train or are validated, some wait for a place.
    until(lambda: waiting(laptop, ids) >= max(1, runs // 5), seconds=600, what="some ask for approval")
    orders = [(chance.choice(ids), chance.choice(list(Command))) for _ in range(commands)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers: list[Answer] = list(pool.map(lambda order: (*order, laptop.command(*order)[0]), orders))
    statuses = Counter(status for *_, status in answers)
    ends: Counter[str] = Counter()
    for run_id in ids:
        record, said = settle(laptop, run_id, chance)
        accepted = Counter(command for at, command, status in [*answers, *said] if at == run_id and status == 202)
        wishes = Counter(Replay().read(record).accepted)
        assert wishes <= accepted, f"{run_id}: a wish that nobody was told of: {wishes - accepted}"
        assert set(accepted) <= set(wishes), f"{run_id}: accepted and not in the history: {accepted - wishes}"
        ends[record["state"]] += 1
    print(f"\n{commands} commands on {runs} runs: answered {dict(statuses)}, ended {dict(ends)}")  # noqa: T201
    assert set(statuses) <= {202, 404, 409}
    assert {202, 409} <= set(statuses), "some are carried out, and some make no sense where they come"
    assert sum(ends.values()) == runs


def waiting(laptop: Laptop, ids: list[str]) -> int:
    """How many runs ask for approval."""
    records = {record["run_id"]: record for record in laptop.api.runs(100)}
    return sum(records.get(run_id, {}).get("state") == control.Phase.AWAITING_APPROVAL for run_id in ids)


def settle(laptop: Laptop, run_id: str, chance: random.Random) -> tuple[dict[str, Any], list[Answer]]:
    """The record once the run is over, and what it was told while it waited for somebody."""
    said: list[Answer] = []

    def over() -> dict[str, Any] | None:
        record = laptop.record(run_id)
        if record.get("state") in LAST_WORDS and not record["wish"]:
            command = chance.choice(LAST_WORDS[record["state"]])
            said.append((run_id, command, laptop.command(run_id, command)[0]))
        return record if record.get("state") in Outcome.__members__ and not record["wish"] else None

    return until(over, seconds=600, what=f"{run_id} ends"), said

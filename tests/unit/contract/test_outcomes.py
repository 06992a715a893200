"""One table of outcomes, and the state machine can reach every row of it and nothing else."""

import re
from pathlib import Path

import pytest

from contract.outcomes import ExitCode, Outcome

PIPELINE = (Path(__file__).parents[3] / "statemachine" / "pipeline.asl.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_says_what_it_means(outcome: Outcome) -> None:
    assert outcome.meaning.endswith(".")


def test_the_state_machine_names_every_outcome() -> None:
    assert set(re.findall(r'"outcome": "([A-Z_]+)"', PIPELINE)) == set(Outcome)


def test_the_state_machine_knows_the_exit_code_of_a_limit() -> None:
    assert f"exit_code = {ExitCode.LIMIT.value}]" in PIPELINE

"""The command line as a whole."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.unit.cli.conftest import Said

COMMANDS = [
    "local",
    "submit",
    "validate",
    "schema",
    "runs",
    "show",
    "watch",
    "logs",
    "report",
    "pause",
    "resume",
    "stop",
    "approve",
    "reject",
    "predict",
    "endpoints",
    "ui",
]


def test_help_lists_every_command(rlpipe: Callable[..., Said]) -> None:
    said = rlpipe("--help")
    assert said.exit_code == 0
    assert [name for name in COMMANDS if f" {name} " not in said.stdout] == []


@pytest.mark.parametrize("arguments", [["show"], ["nothing"], ["runs", "--limit", "0"], ["predict", "x"]])
def test_wrong_usage_is_exit_code_2(rlpipe: Callable[..., Said], arguments: list[str]) -> None:
    said = rlpipe(*arguments)
    assert (said.exit_code, said.stdout) == (2, "")
    assert "Usage" in said.stderr


@pytest.mark.parametrize("command", ["local", "predict", "report", "watch"])
def test_a_command_starts_without_what_it_may_not_need(command: str) -> None:
    """Half of the time to the first word would go into loading it."""
    code = f"""
import sys, cli.main
cli.main.application({command!r})
print([m for m in ("boto3", "botocore", "numpy", "torch", "pydantic", "contract.run") if m in sys.modules])
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"

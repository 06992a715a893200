import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli import deployment, main, watch
from cli.api import Api
from cli.commands import control
from tests.unit.cli.fake_aws import API_URL, ARTIFACTS, INPUT, STATE_MACHINE, FakeAws


@dataclass
class Said:
    """What a command left behind."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        return json.loads(self.stdout)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeAws:
    """An account in memory, with the pipeline deployed; the folder is empty and no time passes."""
    fake = FakeAws()
    monkeypatch.setattr(deployment, "_client", lambda _session, service, *_: fake.client(service))
    monkeypatch.setattr(Api, "request", lambda _self, *args, **more: fake.request(*args, **more))
    monkeypatch.setattr(watch, "wait", lambda _seconds: None)
    monkeypatch.setattr(control, "wait", lambda _seconds: None)
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    named = {
        "INPUT_BUCKET": INPUT,
        "ARTIFACTS_BUCKET": ARTIFACTS,
        "STATE_MACHINE_ARN": STATE_MACHINE,
        "API_URL": API_URL,
    }
    for name, value in named.items():
        monkeypatch.setenv(f"RLPIPE_{name}", value)
    monkeypatch.chdir(tmp_path)
    return fake


@pytest.fixture
def rlpipe(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run a command line as the shell does."""

    def run(*arguments: str) -> Said:
        with pytest.raises(SystemExit) as ended:
            main.main(arguments)
        captured = capsys.readouterr()
        code = ended.value.code
        return Said(code if isinstance(code, int) else 0, captured.out, captured.err)

    return run

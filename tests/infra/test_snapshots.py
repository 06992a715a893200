"""Each template as it was when somebody last looked: `pytest tests/infra --update-snapshots` writes them anew."""

import json
import re
from pathlib import Path

import pytest

from tests.infra.conftest import ROOMS, STAGES, Stage

FOLDER = Path(__file__).parent / "snapshots"


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("name", STAGES)
def test_template_is_as_it_was(stages: dict[str, Stage], name: str, room: str, update_snapshots: bool) -> None:
    text = _masked(stages[name].templates[room])
    path = FOLDER / f"{name}-{room}.json"
    if update_snapshots:
        path.write_text(text)
    assert path.is_file(), f"no {path.name}; `pytest tests/infra --update-snapshots` writes it"
    assert text == path.read_text(), "look at the difference, then `pytest tests/infra --update-snapshots`"


def test_no_snapshot_is_left_of_a_stack_that_is_gone() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{s}-{room}.json" for s in STAGES for room in ROOMS}


def _masked(template: dict[str, object]) -> str:
    """Without what changes with every line of code: asset hashes, and the definition that is a file of its own."""
    text = re.sub(r"\b[0-9a-f]{64}\b", "<hash>", json.dumps(template, indent=1, sort_keys=True))
    return re.sub(r'("DefinitionString": )".*"', r'\1"<statemachine/pipeline.asl.json>"', text) + "\n"

"""The reference pages and the schema follow the model."""

from collections.abc import Callable

import pytest

from cli.reference import FOLDER, pages, schema_document
from contract.algorithms import ALGORITHMS
from contract.catalogue import load_catalogue
from contract.hyperparameters import PPOHyperparameters
from contract.run import LOG, RunSpecification
from tests.unit.cli.conftest import Said


@pytest.mark.parametrize("name", sorted(pages()))
def test_reference_is_up_to_date(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == pages()[name], "run `python -m cli.reference`"


def test_every_field_has_a_line_with_a_description() -> None:
    rows = [line.split(" | ") for line in pages()["run.md"].splitlines() if line.startswith("| `")]
    names = {row[0].strip("| `") for row in rows}
    for section, field in RunSpecification.model_fields.items():
        keys = getattr(field.annotation, "model_fields", None)
        assert {f"{section}.{key}" for key in keys} <= names if keys else section in names
    assert set(PPOHyperparameters.model_fields) <= names
    assert all(row[-1].strip(" |") for row in rows)


def test_schema_lets_an_editor_complete_names_and_check_bounds(rlpipe: Callable[..., Said]) -> None:
    schema = rlpipe("schema").document
    assert schema == schema_document() == rlpipe("schema", "--json").document
    assert schema["properties"]["timesteps"]["minimum"] == 1
    assert schema["required"] == ["environment"]
    assert schema["additionalProperties"] is False
    definitions = schema["$defs"]
    environment = definitions["EnvironmentSection"]
    assert environment["properties"]["id"]["enum"] == [LOG, *load_catalogue().environments]
    assert [one["required"] for one in environment["anyOf"]] == [["id"], ["observation_space", "action_space"]]
    rules = definitions["AlgorithmSection"]["allOf"]
    assert len(rules) == len(ALGORITHMS)
    ppo = next(rule for rule in rules if "'ppo'" in str(rule["if"]))
    assert "clip_range" in ppo["then"]["properties"]["hyperparameters"]["properties"]

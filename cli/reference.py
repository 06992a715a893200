"""The reference of run files and the API, made from their models: `python -m cli.reference` writes docs/reference/."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contract.alarms import CAUSES_OF_A_BLOCKED_QUEUE, OF_A_STAGE, OF_ENDPOINTS, OF_RUNS, Alarm
from contract.algorithms import ALGORITHMS
from contract.catalogue import load_catalogue
from contract.metrics import METRICS
from contract.openapi import openapi
from contract.run import LOG, RunSpecification
from contract.spaces import SPACES

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
SCHEMA_FILE = "run.schema.json"
PAGE_FILE = "run.md"
API_FILE = "openapi.json"
MONITORING_FILE = "monitoring.md"

_INTRODUCTION = """\
# run.yaml

A run file is the only thing that you write. Unknown keys, wrong types and values that cannot work are refused with
the field's path, what was given and what is allowed; `rlpipe validate run.yaml` says so before anything starts.

This page is made from the model in `contract/run.py` by `python -m cli.reference`, and so is
[the JSON Schema](run.schema.json) for editors.
"""


def schema_document() -> dict[str, Any]:
    """The JSON Schema of a run file, with the names of every environment, algorithm and hyperparameter."""
    schema = RunSpecification.model_json_schema()
    environment = schema["$defs"]["EnvironmentSection"]
    environment["properties"]["id"]["enum"] = [LOG, *load_catalogue().environments]
    environment["anyOf"] = [{"required": ["id"]}, {"required": ["observation_space", "action_space"]}]
    algorithm = schema["$defs"]["AlgorithmSection"]
    algorithm["properties"]["name"]["enum"] = list(ALGORITHMS)
    default = algorithm["properties"]["name"]["default"]
    algorithm["allOf"] = [
        {
            # A name that is left out means the default, which `properties` alone would let pass for any.
            "if": {"properties": {"name": {"const": name}}, **({} if name == default else {"required": ["name"]})},
            "then": {"properties": {"hyperparameters": one.hyperparameters.model_json_schema()}},
        }
        for name, one in ALGORITHMS.items()
    ]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "run.yaml"}


def pages() -> dict[str, str]:
    """The reference files by name."""
    return {
        SCHEMA_FILE: json.dumps(schema_document(), indent=2) + "\n",
        PAGE_FILE: "\n".join(_page()),
        MONITORING_FILE: "\n".join(_monitoring()),
        API_FILE: json.dumps(openapi(), indent=2) + "\n",
    }


def write(folder: Path = FOLDER) -> None:
    """Write the reference files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


def _page() -> Iterator[str]:
    schema = RunSpecification.model_json_schema()
    definitions = schema["$defs"]
    yield _INTRODUCTION
    yield from _table(_fields("", schema, definitions))
    yield "\n## Spaces of a log\n"
    yield "Where there is no simulator, only a log, the run file says what was logged.\n"
    for space in SPACES:
        logged = space.model_json_schema()
        yield from (*_table(_fields("", logged, logged.get("$defs", {}))), "")
    for algorithm in ALGORITHMS.values():
        hyperparameters = algorithm.hyperparameters.model_json_schema()
        yield f"\n## Hyperparameters of {algorithm.name}\n"
        yield f"{algorithm.title}. One that is left out has the tuned default of the environment.\n"
        yield from _table(_fields("", hyperparameters, hyperparameters.get("$defs", {})), with_default=False)
    yield ""


def _monitoring() -> Iterator[str]:
    """The alarms and the metrics."""
    yield "# Alarms and metrics\n"
    yield "Made from `contract/alarms.py` and `contract/metrics.py` by `python -m cli.reference`.\n"
    for title, alarms in (("each run", OF_RUNS), ("a stage", OF_A_STAGE), ("an endpoint", OF_ENDPOINTS)):
        yield f"## Alarms of {title}\n"
        yield from _alarms(alarms)
    yield "## Why a queue is blocked\n"
    for code, (cause, advice) in CAUSES_OF_A_BLOCKED_QUEUE.items():
        yield f"- `{code}`: {cause} {advice}"
    yield "\n## Metrics\n\nNamespace `rlpipe`.\n"
    yield "| metric | unit | dimensions | when | meaning |\n| --- | --- | --- | --- | --- |"
    for metric in METRICS:
        cells = (f"`{metric.name}`", metric.unit, ", ".join(metric.dimensions), metric.when, metric.meaning)
        yield f"| {' | '.join(cells)} |"
    yield ""


def _alarms(alarms: tuple[Alarm, ...]) -> Iterator[str]:
    for alarm in alarms:
        yield f"**{alarm.name}**: {alarm.title}. {alarm.meaning} {alarm.why} What to do: {alarm.advice}"
        yield "\n```\n" + "\n".join(alarm.commands) + "\n```\n"


def _fields(prefix: str, model: dict[str, Any], definitions: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Name, type, default and description of every field, sections opened."""
    required = model.get("required", [])
    for name, field in model["properties"].items():
        section = _section(field, definitions)
        if section is not None:
            yield from _fields(f"{prefix}{name}.", section, definitions)
            continue
        default = "required" if name in required else f"`{json.dumps(field.get('default', {}))}`"
        yield f"{prefix}{name}", _type(field), default, field.get("description", "")


def _section(field: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any] | None:
    name = field.get("$ref", "").rpartition("/")[2]
    return definitions.get(name) if name in definitions and "properties" in definitions[name] else None


def _table(fields: Iterator[tuple[str, str, str, str]], *, with_default: bool = True) -> Iterator[str]:
    yield "| field | type | default | description |" if with_default else "| field | type | description |"
    yield "| --- | --- | --- | --- |" if with_default else "| --- | --- | --- |"
    for name, kind, default, description in fields:
        cells = (f"`{name}`", kind, default, description) if with_default else (f"`{name}`", kind, description)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _type(field: dict[str, Any]) -> str:
    """A field's type in words, with its bounds."""
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if "discriminator" in field:
        return "[space](#spaces-of-a-log)"
    if "anyOf" in field:
        kinds = [_type(branch) for branch in field["anyOf"]]
        return " or ".join(dict.fromkeys(kinds))
    kind = str(field.get("type", "anything"))
    if kind == "array":
        return f"list of {_type(field.get('items', {}))}{_bounds(field, 'minItems', 'maxItems')}"
    if kind == "string" and "pattern" in field:
        return f"text like `{field['pattern']}`"
    names = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text"}
    names |= {"object": "mapping", "null": "nothing"}
    return (
        names.get(kind, kind)
        + _bounds(field, "minimum", "maximum")
        + _bounds(field, "exclusiveMinimum", "exclusiveMaximum")
    )


def _bounds(field: dict[str, Any], low: str, high: str) -> str:
    words = {
        "minimum": "at least",
        "maximum": "at most",
        "minItems": "at least",
        "maxItems": "at most",
        "exclusiveMinimum": "more than",
        "exclusiveMaximum": "less than",
    }
    given = [f"{words[key]} {field[key]:,}" for key in (low, high) if key in field]
    return f", {' and '.join(given)}" if given else ""


if __name__ == "__main__":
    write()

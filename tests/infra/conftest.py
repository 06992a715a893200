"""Every stage is synthesised once; the tests read the templates as plain JSON."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from config.settings import EcsSettings, Settings, load_settings
from config.toolchain import use_packaged_node

use_packaged_node()

import aws_cdk as cdk  # noqa: E402

from app import build  # noqa: E402

ROOT = Path(__file__).parents[2]
STAGES = ("local", "dev", "prod")
ROOMS = ("storage", "network", "alerts", "compute", "serving", "runs", "pipeline", "api", "events", "monitoring")

Properties = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One synthesised stage."""

    settings: Settings
    folder: Path
    templates: dict[str, dict[str, Any]]

    def resources(self, kind: str, room: str | None = None) -> dict[str, Properties]:
        """The properties of every resource of one type, by logical id; of one room or of all."""
        found = [
            (name, resource.get("Properties", {}))
            for in_room, template in self.templates.items()
            if room in (None, in_room)
            for name, resource in template["Resources"].items()
            if resource["Type"] == kind
        ]
        assert len(dict(found)) == len(found), f"two {kind} have one logical id, so one of them would not be looked at"
        return dict(found)

    def one(self, kind: str, starting_with: str = "") -> Properties:
        """The only resource of its type whose logical id starts like this."""
        found = {name: it for name, it in self.resources(kind).items() if name.startswith(starting_with)}
        assert len(found) == 1, f"expected one {kind} {starting_with}*, found {sorted(found)}"
        return next(iter(found.values()))


def synthesise(settings: Settings, folder: Path, **context: Any) -> Stage:
    """Build the app of `settings` in `folder` as the CDK's command line would, without bundling."""
    flags = json.loads((ROOT / "cdk.json").read_text())["context"]
    app = cdk.App(outdir=str(folder), context={**flags, **context}, analytics_reporting=False)
    build(app, settings, bundle=False)
    app.synth()
    templates = {
        path.name.removesuffix(".template.json").rsplit("-", 1)[-1]: json.loads(path.read_text())
        for path in folder.glob("*.template.json")
    }
    return Stage(settings=settings, folder=folder, templates=templates)


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Stage]:
    return {name: synthesise(load_settings(name), tmp_path_factory.mktemp(name)) for name in STAGES}


@pytest.fixture(scope="session")
def with_services(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The stage of development with services on ECS, which no deployed stage has by itself."""
    dev = load_settings("dev")
    serving = dev.serving.model_copy(update={"ecs": EcsSettings()})
    return synthesise(dev.model_copy(update={"serving": serving}), tmp_path_factory.mktemp("services"))


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest, stages: dict[str, Stage]) -> Stage:
    return stages[request.param]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-snapshots", action="store_true", help="write the templates' snapshots anew")


@pytest.fixture
def update_snapshots(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-snapshots", default=False))


def statements(policy: Properties) -> Iterator[dict[str, Any]]:
    """The statements of an IAM policy with actions and resources as lists."""
    for statement in policy["PolicyDocument"]["Statement"]:
        yield {**statement, **{key: _listed(statement[key]) for key in ("Action", "Resource") if key in statement}}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]

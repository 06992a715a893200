"""Every stage and every variant is synthesised once; the tests read the templates as plain JSON."""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from config.settings import Settings
from config.toolchain import use_packaged_node
from tests.infra.variants import STAGES, settings_of

if TYPE_CHECKING:
    import aws_cdk as cdk

    from stacks.governance.judges import Finding

use_packaged_node()

ROOT = Path(__file__).parents[2]
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


def synthesise(settings: Settings, folder: Path) -> Stage:
    """Build the app of `settings` in `folder` as the CDK's command line would, without bundling."""
    _synthesise(settings, folder)
    return _read(settings, folder)


def _synthesise(settings: Settings, folder: Path) -> "cdk.App":
    # Here, and not above: xdist's own process reads this file too, and needs no Node.
    import aws_cdk as cdk

    from app import build

    flags = json.loads((ROOT / "cdk.json").read_text())["context"]
    # The CDK's own rules, which take it five seconds to load, are asked once, by test_judges.
    app = cdk.App(
        outdir=str(folder), context=flags, analytics_reporting=False, builtin_cloud_formation_validation=False
    )
    build(app, settings, bundle=False)
    app.synth()
    return app


def _read(settings: Settings, folder: Path) -> Stage:
    templates = {
        path.name.removesuffix(".template.json").rsplit("-", 1)[-1]: json.loads(path.read_text())
        for path in sorted(folder.glob("*.template.json"))
    }
    return Stage(settings=settings, folder=folder, templates=templates)


class Syntheses:
    """Every stage and variant by its name, synthesised by whichever of xdist's processes comes to it first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stages: dict[str, Stage] = {}

    def __getitem__(self, name: str) -> Stage:
        return self.all((name,))[name]

    def all(self, names: Iterable[str]) -> dict[str, Stage]:
        """Several of them: first what no other process is at, so that two of them share the work."""
        names = tuple(names)
        for name in names:
            self._make(name, wait=False)
        for name in names:
            self._make(name, wait=True)
            if name not in self._stages:
                self._stages[name] = _read(settings_of(name), self._folder / name)
        return {name: self._stages[name] for name in names}

    def findings(self, name: str) -> "list[Finding]":
        """What cdk-nag finds in one of them, accepted or not."""
        from stacks.governance.judges import Finding

        self._make(name, wait=True)
        return [Finding(**it) for it in json.loads(self._found(name).read_text())]

    def _make(self, name: str, *, wait: bool) -> None:
        with (self._folder / f"{name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            if not self._found(name).exists():
                from stacks.governance.judges import findings

                found = findings(_synthesise(settings_of(name), self._folder / name))
                self._found(name).write_text(json.dumps([asdict(it) for it in found]))

    def _found(self, name: str) -> Path:
        return self._folder / f"{name}.findings.json"


@pytest.fixture(scope="session")
def syntheses(tmp_path_factory: pytest.TempPathFactory) -> Syntheses:
    ours = tmp_path_factory.getbasetemp()
    folder = (ours.parent if "PYTEST_XDIST_WORKER" in os.environ else ours) / "syntheses"
    folder.mkdir(exist_ok=True)
    return Syntheses(folder)


@pytest.fixture(scope="session")
def stages(syntheses: Syntheses) -> dict[str, Stage]:
    return syntheses.all(STAGES)


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest, stages: dict[str, Stage]) -> Stage:
    return stages[request.param]


@pytest.fixture(scope="session")
def switched(syntheses: Syntheses) -> Stage:
    return syntheses["switched"]


@pytest.fixture(scope="session")
def walled_in(syntheses: Syntheses) -> Stage:
    return syntheses["walled_in"]


@pytest.fixture(scope="session")
def brought(syntheses: Syntheses) -> Stage:
    return syntheses["brought"]


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

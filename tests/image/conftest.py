"""Both images, built once, and a run that was trained and validated in containers."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stacks.constructs.assets import SERVING_IMAGE, TRAINING_IMAGE, stage
from tests.image.building import ROOT, Image, base_image, build, pip_configuration
from tests.image.docker import NO_NETWORK, Container, mounted, run

if "IMAGE_ENGINE_CLIENT" not in os.environ:
    # Only `make test-images` starts an engine; no other call of pytest needs one.
    collect_ignore_glob = ["test_*.py"]

Start = Callable[..., Container]
_figures: list[str] = []


def figure(text: str) -> None:
    """Have a measurement printed at the end."""
    _figures.append(text)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test that needs an image waits for its build."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(1200))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _figures:
        terminalreporter.section("images")
        for line in _figures:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def base() -> str:
    name = base_image()
    figure(f"base: {name}")
    return name


@pytest.fixture(scope="session")
def pip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A configuration of pip that finds every package the images lock."""
    locks = ["training_image/requirements-cpu.lock", "serving_image/requirements.lock"]
    with pip_configuration(tmp_path_factory.mktemp("pip"), *(ROOT / lock for lock in locks)) as configuration:
        yield configuration


@pytest.fixture(scope="session")
def training_context() -> Path:
    return stage(TRAINING_IMAGE)


@pytest.fixture(scope="session")
def training(training_context: Path, base: str, pip: Path) -> Image:
    """The training image for CPUs."""
    return _built("training", training_context, base, pip, variant="cpu")


@pytest.fixture(scope="session")
def serving(base: str, pip: Path) -> Image:
    """The serving image."""
    return _built("serving", stage(SERVING_IMAGE), base, pip)


def _built(name: str, context: Path, base: str, pip: Path, variant: str | None = None) -> Image:
    dockerfile = f"{name}_image/Dockerfile"
    image = build(f"rlpipe/{name}:test", context, dockerfile, base=base, pip=pip, variant=variant)
    figure(f"{name}: {image.megabytes:.0f} MB, built in {image.seconds:.1f} s")
    return image


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts sealed containers, which end with the test."""
    containers: list[Container] = []

    def started(image: Image, *command: str, options: tuple[str, ...]) -> Container:
        containers.append(Container.start(image.identifier, *command, options=options))
        return containers[-1]

    yield started
    for container in containers:
        container.remove()


@pytest.fixture(scope="session")
def finished_run(training: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was trained without interruption and then validated."""
    from tests.image.runs import RUN_FOLDER, TRAIN, VALIDATE, prepare

    folder = prepare(tmp_path_factory.mktemp("finished"))
    for command in (TRAIN, VALIDATE):
        done = run(training.identifier, *command, options=(NO_NETWORK, *mounted(folder, RUN_FOLDER, writable=True)))
        assert done.returncode == 0, done.stdout + done.stderr
    return folder

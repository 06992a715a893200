"""One embedded AWS for all pipeline tests, deployed to by the real CDK command line."""

import socket
from collections.abc import Iterator

import pytest

from embedded_aws import lifecycle
from tests.pipeline.laptop import Laptop


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="more of everything that is tried at random")


@pytest.fixture(scope="session")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    state_dir = tmp_path_factory.mktemp("laptop")
    running = lifecycle.start(state_dir, free_port(), note_calls=True)
    try:
        lifecycle.deploy(running)
        yield Laptop(
            endpoint_url=running.endpoint_url,
            outputs=lifecycle.outputs(running),
            environment=lifecycle.environment(running),
            state_dir=state_dir,
        )
    finally:
        lifecycle.stop(state_dir)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What was allowed is judged when everything else has run."""
    items.sort(key=lambda item: item.path.parent.name == "pipeline" and item.path.name == "test_permissions.py")

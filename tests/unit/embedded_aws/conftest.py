"""One instance for all tests of its behaviour."""

from collections.abc import Iterator

import pytest

from tests.unit.embedded_aws.instance import Instance


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    instance = Instance(tmp_path_factory.mktemp("embedded-aws"))
    yield instance
    instance.stop()


@pytest.fixture(scope="session")
def queue(aws: Instance) -> str:
    return aws.queue()

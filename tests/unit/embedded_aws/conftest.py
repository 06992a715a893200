"""One instance for all tests of what an account of AWS does not have."""

from collections.abc import Iterator

import pytest

from tests.conformance.embedded import Instance


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    instance = Instance(tmp_path_factory.mktemp("embedded-aws"))
    yield instance
    instance.stop()

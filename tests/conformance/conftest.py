"""The account that the suite runs on: the embedded AWS, or with `--aws ACCOUNT` a real one."""

from collections.abc import Iterator

import pytest

from tests.conformance.account import Account
from tests.conformance.embedded import Instance
from tests.conformance.real import RealAccount


@pytest.fixture(scope="session")
def aws(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    account_id = request.config.getoption("--aws")
    account = RealAccount(account_id) if account_id else Instance(tmp_path_factory.mktemp("embedded-aws"))
    yield account
    account.clean_up()


@pytest.fixture(scope="session")
def queue(aws: Account) -> str:
    return aws.queue()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each behaviour names the page that promises it."""
    for item in items:
        if "tests/conformance/" in str(item.path) and item.get_closest_marker("page") is None:
            raise pytest.UsageError(f"{item.nodeid} names no page of docs.aws.amazon.com: @pytest.mark.page(...)")

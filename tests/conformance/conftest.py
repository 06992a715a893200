"""The account that the suite runs on: the embedded AWS, or with `--aws ACCOUNT` a real one."""

from collections.abc import Iterator

import pytest

from tests.conformance.account import Account
from tests.conformance.embedded import Instance


@pytest.fixture(scope="session")
def aws(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    account = Instance(tmp_path_factory.mktemp("embedded-aws"))
    yield account
    account.clean_up()


@pytest.fixture(scope="session")
def queue(aws: Account) -> str:
    return aws.queue()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each behaviour names the page that promises it."""
    for item in items:
        if "tests/conformance/" in str(item.path):
            page = item.get_closest_marker("page")
            if page is None or not page.args[0].endswith(".html"):
                raise pytest.UsageError(
                    f"{item.nodeid} must name a page of docs.aws.amazon.com: @pytest.mark.page(...)"
                )

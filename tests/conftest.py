"""What every test starts from: no AWS account can be reached by accident."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

CONFORMANCE = Path(__file__).parent / "conformance"
ONE_PROCESS = ("conformance", "pipeline")
"""Folders whose tests share what is built once: a laptop's AWS."""

IS_FOR_REAL = any(word == "--aws" or word.startswith("--aws=") for word in sys.argv)

if not IS_FOR_REAL:
    for name in [name for name in os.environ if name.startswith(("AWS_", "RLPIPE_"))]:
        if name != "AWS_CA_BUNDLE":
            del os.environ[name]
    os.environ.update(
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        AWS_DEFAULT_REGION="us-east-1",
        AWS_REGION="us-east-1",
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
        # A call that no test expects ends on a closed port of this machine, not in an account.
        AWS_ENDPOINT_URL="http://127.0.0.1:9",
    )


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--aws",
        metavar="ACCOUNT",
        help="run tests/conformance in the account of this number, for which the environment has credentials; it costs",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    others = [item.nodeid for item in items if CONFORMANCE not in item.path.parents]
    if config.getoption("--aws") and others:
        raise pytest.UsageError(f"--aws is for tests/conformance alone; among the tests is {others[0]}")
    items.sort(key=lambda item: "pipeline" not in item.path.parts)  # the longest first, so that nothing waits for it


class Together(LoadScopeScheduling):  # type: ignore[misc]
    """Deals out whole folders of `ONE_PROCESS`, and else files."""

    def _split_scope(self, nodeid: str) -> str:
        file = Path(nodeid.partition("::")[0])
        return next((folder for folder in ONE_PROCESS if folder in file.parts), str(file))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    config.option.loadscopereorder = False  # not most tests first: the longest have few
    return Together(config, log)

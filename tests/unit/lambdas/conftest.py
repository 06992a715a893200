"""Stubs for the clients that a function's module makes at import."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from botocore.stub import Stubber


@pytest.fixture
def stub() -> Iterator[Callable[[Any], Stubber]]:
    """Stub a client for this test; every response that was added must have been asked for."""
    stubbers: list[Stubber] = []
    with ExitStack() as stack:

        def make(client: Any) -> Stubber:
            stubber = stack.enter_context(Stubber(client))
            stubbers.append(stubber)
            return stubber

        yield make
        for stubber in stubbers:
            stubber.assert_no_pending_responses()

"""What runs inside what in an execution, so that ending the outer ends everything within.

An execution, each Map or Parallel state and each task with a time limit are scopes. Cancelling a scope wakes the waits
in it and undoes its work (a running Batch job is terminated), as Step Functions does when an execution is stopped, a
state times out, or another branch of a Map or Parallel state fails.
https://docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html#connect-sync
"""

import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterator
from typing import Any

from embedded_aws import hooks


class Cancelled(BaseException):
    """The scope this thread works in has ended. Not an Exception: no Retry or Catch of a state may see it."""


class Scope:
    """A cancellable part of an execution."""

    def __init__(self, execution: dict[str, Any], kind: str = "Execution") -> None:
        self.execution = execution
        self.kind = kind
        """Execution, Map, Parallel or Task."""
        self._lock = threading.Lock()
        self._undo: dict[object, Callable[[], None]] = {}
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether this scope, or one it is in, was cancelled."""
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raise Cancelled if the scope has ended."""
        if self.cancelled:
            raise Cancelled

    def wait(self, seconds: float) -> None:
        """Sleep. Raises Cancelled as soon as the scope ends."""
        if self._cancelled.wait(seconds):
            raise Cancelled

    def cancel(self) -> None:
        """End the scope and all within it."""
        with self._lock:
            self._cancelled.set()
            undo, self._undo = list(self._undo.values()), {}
        for action in undo:
            action()

    @contextlib.contextmanager
    def on_cancel(self, action: Callable[[], None]) -> Iterator[None]:
        """While the block runs, cancelling the scope calls `action`.

        If the scope has ended already the action is called at once. Raises Cancelled then.
        """
        key = object()
        with self._lock:
            ended = self.cancelled
            self._undo[key] = action
        try:
            if ended:
                action()
                raise Cancelled
            yield
        finally:
            with self._lock:
                self._undo.pop(key, None)

    @contextlib.contextmanager
    def child(self, kind: str) -> Iterator["Scope"]:
        """A scope within this one, current in the block and in threads that copy its context."""
        inner = Scope(self.execution, kind)
        with self.on_cancel(inner.cancel):
            token = _current.set(inner)
            try:
                yield inner
            finally:
                _current.reset(token)


_current: contextvars.ContextVar[Scope | None] = contextvars.ContextVar("step_functions_scope", default=None)


def current() -> Scope | None:
    """The scope this thread works in, if it runs a state machine."""
    return _current.get()


def enter(scope: Scope) -> None:
    """Make an execution's scope the current one of this thread."""
    _current.set(scope)


def role_of(execution: dict[str, Any]) -> str:
    """The ARN of the role that an execution acts in the name of."""
    machines = hooks.private("services.stepfunctions", "_state_machines")
    role: str = machines[execution["stateMachineArn"]]["roleArn"]
    return role

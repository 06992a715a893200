"""Where an execution is, so that a redrive goes on from the step that did not succeed.

https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html
"""

import contextlib
import contextvars
import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Bookmark:
    """The state that a walk through a machine or a branch is in, and what it had when it entered it."""

    state: str = ""
    data: Any = None
    variables: dict[str, Any] = field(default_factory=dict)
    branches: dict[int, "Bookmark"] = field(default_factory=dict)
    """Those of a Map or Parallel state, by position."""
    is_finished: bool = False
    output: Any = None
    """Of a branch that has finished."""
    _parts: list[Any] = field(default_factory=list)
    is_redriven: bool = False
    """Whether the state is about to be entered again by a redrive, which keeps the branches that have finished."""

    def enter(self, state: str, data: Any, variables: dict[str, Any]) -> None:
        """The walk has come to a state."""
        self.state, self.data, self.variables = state, copy.deepcopy(data), copy.deepcopy(variables)
        self.branches.clear()

    def begin_branches(self, parts: list[Any]) -> None:
        """A Map or Parallel state starts its branches: all of them, unless a redrive brought the walk here.

        :param parts: the branches of a Parallel state, as the definition has them.
        """
        self._parts = parts
        if not self.is_redriven:
            self.branches.clear()
        self.is_redriven = False

    def branch(self, position: int) -> "Bookmark":
        """The bookmark of one branch."""
        return self.branches.setdefault(position, Bookmark())

    def position_of(self, part: Any) -> int:
        """Which branch of a Parallel state this one is."""
        return next(position for position, known in enumerate(self._parts) if known is part)

    def redrive(self) -> None:
        """Mark this walk, and every one within it that did not finish, to go on from where it was."""
        self.is_redriven = True
        for branch in self.branches.values():
            if not branch.is_finished and branch.state:
                branch.redrive()


_current: contextvars.ContextVar[Bookmark] = contextvars.ContextVar("step_functions_bookmark")


def current() -> Bookmark:
    """The bookmark of the walk that this thread is in."""
    return _current.get()


@contextlib.contextmanager
def held(bookmark: Bookmark) -> Iterator[Bookmark]:
    """Make a bookmark the current one in the block, and in threads that copy its context."""
    token = _current.set(bookmark)
    try:
        yield bookmark
    finally:
        _current.reset(token)

"""What the scripts share: whom to tell, and an exit code and a reason for every way to end."""

import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn, TextIO, TypeVar

from contract.outcomes import ExitCode
from training_image.trainer.errors import TrainingError, UsageError
from training_image.trainer.monitoring.reporting import LineReporter, Reporter

T = TypeVar("T")


def guarded(work: Callable[[], T], reporter: Reporter) -> tuple[ExitCode, str, T | None]:
    """What `work` returns with DONE, or the exit code and reason of what it raised; a traceback goes to the log."""
    try:
        return ExitCode.DONE, "", work()
    except UsageError as error:
        return ExitCode.USAGE, str(error), None
    except TrainingError as error:
        return ExitCode.FAILED, str(error), None
    except Exception as error:
        reporter.log(traceback.format_exc())
        return ExitCode.FAILED, f"{type(error).__name__}: {error}", None


def leave(exit_code: int) -> NoReturn:
    """End the process at once. All files are written by then, and taking torch down in order may take a second."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def by_hand(stream: TextIO) -> Reporter:
    """A progress bar where somebody looks at it, lines where they are piped."""
    if not stream.isatty():
        return LineReporter(stream)
    from training_image.trainer.monitoring.bar import BarReporter  # rich, which a container does not need

    return BarReporter(stream)

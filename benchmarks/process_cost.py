"""Running a command as a process of its own, and what it cost."""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""For every contender: with a second thread these small networks are slower, and on a busy machine far slower."""

QUIET = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONWARNINGS": "ignore"}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds of wall and CPU time, and the peak memory of the process or of a child that it waited for."""

    wall_seconds: float
    cpu_seconds: float
    peak_mb: float
    exit_code: int


def run(command: list[str], log: Path, folder: Path) -> Cost:
    """Run a command in `folder` to its end; its output goes to `log`."""
    with log.open("wb") as output:
        started = time.monotonic()
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, cwd=folder, env=os.environ | ONE_THREAD | QUIET
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(
        wall_seconds=round(wall, 3),
        cpu_seconds=round(used.ru_utime + used.ru_stime, 3),
        peak_mb=round(used.ru_maxrss / 1024, 1),
        exit_code=process.returncode,
    )

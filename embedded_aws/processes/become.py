"""A process that becomes a job's or a function's: `python become.py ROOM [--say-so] MODULE...`.

It imports the modules, which is what a small training waits for longest, says so if it is told to, and reads a line of
JSON from its standard input: `{"command": [SCRIPT, ...], "environment": {...}}`. From there on it is
`python SCRIPT ...` with these variables, and with an empty input unless the order has a "folder" to go to, as functions
have: then it keeps its input. Without such a line it ends. Nothing of this package is imported: a job shall find only
what its image has.
"""

import sys

del sys.path[0]  # this folder, in which the job has no business

import contextlib  # noqa: E402
import ctypes  # noqa: E402
import gc  # noqa: E402
import importlib  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import runpy  # noqa: E402
from pathlib import Path  # noqa: E402

_ARG_START, _ARG_END = 48 - 3, 49 - 3
"""Fields of proc(5)'s stat, counted from the one behind the command's name."""


def main() -> None:
    """Import, wait, and become the job."""
    gc.disable()  # as the trainer does: there is no garbage, and looking for it takes a quarter of the time
    says_so = sys.argv[2] == "--say-so"
    for name in sys.argv[3 if says_so else 2 :]:
        with contextlib.suppress(Exception, SystemExit):  # the job says what it cannot import
            importlib.import_module(name)
    gc.freeze()
    gc.enable()
    if says_so:
        print("ready", flush=True)  # noqa: T201
    line = sys.stdin.readline()
    if not line:
        return
    order = json.loads(line)
    os.environ.clear()
    os.environ.update(order["environment"])
    if "folder" in order:
        os.chdir(order["folder"])
    else:
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
    sys.argv = order["command"]
    _be_called([sys.executable, *sys.argv])
    sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))
    runpy.run_path(sys.argv[0], run_name="__main__")


def _be_called(words: list[str]) -> None:
    """Show these words in `ps`, in place of this program's own, which ROOM makes long enough. On Linux only."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
        room = end - start - 1
        if start and room > 0:
            text = "\0".join(words).encode()[:room]
            ctypes.memmove(start, text.ljust(room, b"\0"), room)


if __name__ == "__main__":
    main()

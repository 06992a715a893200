"""Record a terminal session of `rlpipe`: `python tools/record_session.py [--port N]`, from the project's folder.

Every command runs for real, in a terminal, on an embedded AWS that is started for it. How the terminal looks in the
end, from its first line on, is `docs/session.svg`. `--cast PATH` keeps what it printed and when, in asciinema's format.
"""

import argparse
import fcntl
import json
import os
import pty
import shlex
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
WIDTH, HEIGHT = 100, 30
_LINES = 5_000
_COLOURS = {"default": None, "brown": "yellow", "brightbrown": "bright_yellow"}
# Without the fonts that rich would have fetched from elsewhere.
_SVG = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>.{unique_id}-matrix {{font-family: ui-monospace, Menlo, Consolas, monospace; font-size: {char_height}px;
line-height: {line_height}px;}} {styles}</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}</defs>{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g></g></svg>
"""


def commands(port: int) -> list[str]:
    """What is typed."""
    return [
        f"rlpipe local up --port {port}",
        "rlpipe validate examples/cartpole",
        "rlpipe submit examples/cartpole --watch",
        "rlpipe show latest",
        "rlpipe predict cartpole --observation '[0.02, -0.01, 0.03, 0.04]'",
        "rlpipe endpoints list",
        "rlpipe submit examples/cartpole",
        "rlpipe pause latest --reason 'a meeting'",
        "rlpipe runs",
        "rlpipe resume latest",
        "rlpipe stop latest",
        "rlpipe endpoints off cartpole",
        "rlpipe local down",
    ]


def main() -> None:
    """Record, and draw."""
    parser = argparse.ArgumentParser(description="Record a terminal session of rlpipe.")
    parser.add_argument("--port", type=int, default=4566, help="Port of the embedded AWS.")
    parser.add_argument("--cast", type=Path, help="Where to keep the recording.")
    options = parser.parse_args()
    began, events = time.monotonic(), []

    def said(text: str) -> None:
        events.append((round(time.monotonic() - began, 3), "o", text.replace(str(ROOT), "~/rlpipe")))

    for command in commands(options.port):
        said(f"\x1b[1;32m$\x1b[0m {command}\r\n")
        code = _run(command, said)
        said("\r\n")
        if code:
            sys.exit(f"{command} exited with {code}:\n{''.join(text for *_, text in events[-30:])}")
    if options.cast:
        header = {"version": 2, "width": WIDTH, "height": HEIGHT, "idle_time_limit": 1.5, "title": "rlpipe"}
        options.cast.write_text("".join(json.dumps(line) + "\n" for line in (header, *events)), encoding="utf-8")
    (ROOT / "docs" / "session.svg").write_text(_drawn("".join(text for *_, text in events)), encoding="utf-8")


def _run(command: str, said: Callable[[str], None]) -> int:
    """Run a command in a terminal; its exit code."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(WIDTH), "LINES": str(HEIGHT)}
    process = subprocess.Popen(
        shlex.split(command), cwd=ROOT, env=environment, stdin=follower, stdout=follower, stderr=follower
    )
    os.close(follower)
    rest = b""
    while True:
        try:
            read = os.read(leader, 65_536)
        except OSError:  # the terminal's other side is closed
            break
        if not read:
            break
        rest += read
        whole = rest.decode(errors="ignore")
        said(whole)
        rest = rest[len(whole.encode()) :]
    os.close(leader)
    return process.wait()


def _drawn(output: str) -> str:
    """The terminal after all of it, from its first line."""
    screen = pyte.HistoryScreen(WIDTH, HEIGHT, history=_LINES, ratio=1)
    pyte.Stream(screen).feed(output)
    lines = [*screen.history.top, *(screen.buffer[number] for number in range(screen.cursor.y))]
    console = Console(record=True, width=WIDTH, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
    for line in lines:
        text = Text()
        for style, characters in groupby((line[column] for column in range(WIDTH)), _style):
            text.append("".join(character.data for character in characters), style)
        text.rstrip()
        console.print(text, no_wrap=True)
    return console.export_svg(title="rlpipe", code_format=_SVG, unique_id="session")


def _style(character: pyte.screens.Char) -> Style:
    name = character.fg
    colour = _COLOURS.get(name, f"#{name}" if len(name) == 6 and name.isalnum() and not name.isalpha() else name)
    if colour and colour.startswith("bright") and "_" not in colour:
        colour = colour.replace("bright", "bright_")
    return Style(color=colour, bold=character.bold)


if __name__ == "__main__":
    main()

"""Where results lie, and the machine that they come from."""

import importlib.metadata
import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDER = Path(__file__).parent / "results"


def write(part: str, command: str, content: dict[str, Any]) -> None:
    """Write results/<part>.json. Called after every run: what is interrupted keeps what it has."""
    FOLDER.mkdir(exist_ok=True)
    document = {"command": command, "written_at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine()}
    (FOLDER / f"{part}.json").write_text(json.dumps(document | content, indent=1) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code. The load tells how many others wanted the processor."""
    names = ("torch", "stable-baselines3", "gymnasium", "numpy")
    question = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(question, cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "commit": commit.stdout.strip(),
        "processors": os.cpu_count(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in names},
    }


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

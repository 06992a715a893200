"""What preparing a log costs beside the same work by hand in Polars and pandas, and how it grows with the rows."""

import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl

from benchmarks.contenders import HERE, TOOLS, install
from benchmarks.process_cost import run
from benchmarks.results import ROOT, table, write

OURS, POLARS, PANDAS = "prepare_data.py", "Polars by hand", "pandas by hand"
POLARS_ROWS, PANDAS_ROWS = "Polars by hand, rows alone", "pandas by hand, rows alone"
SHUFFLED = "parquet, shuffled"
SIZES = (
    (20_000_000, "parquet", 3, (OURS, POLARS, PANDAS, POLARS_ROWS, PANDAS_ROWS)),
    (20_000_000, "csv", 3, (OURS, POLARS, PANDAS, POLARS_ROWS, PANDAS_ROWS)),
    (20_000_000, SHUFFLED, 1, (OURS, POLARS, PANDAS)),
    (60_000_000, "parquet", 1, (OURS,)),
    (200_000_000, "parquet", 1, (OURS,)),
)
"""Rows, format, rounds, and whose. Who looks at rows alone asks nothing of whole episodes: it does less."""
EPISODE_STEPS = 200
AT_ONCE = 2_000_000
RUN_FILE = "environment: {id: CartPole-v1}\ndata: {kind: transitions}\n"


def main() -> str:
    """Prepare each log with each contender, in turn and each in a process of its own."""
    install("pandas")
    results: list[dict[str, Any]] = []
    for rows, kind, rounds, names in SIZES:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            commands = _commands(folder, _make(folder, rows, kind), folder / "output")
            for _ in range(rounds):
                for name in names:
                    cost = run(commands[name], folder / "log.txt", ROOT)
                    shutil.rmtree(folder / "output", ignore_errors=True)
                    if cost.exit_code:
                        raise RuntimeError(f"{name} failed: {(folder / 'log.txt').read_text()}")
                    results.append({"contender": name, "rows": rows, "format": kind} | asdict(cost))
                    write("data", "python -m benchmarks data", {"results": results})
    return _table(results)


def _commands(folder: Path, source: Path, output: Path) -> dict[str, list[str]]:
    """What each contender is started with."""
    ours = ["training_image/prepare_data.py", "--experiment", str(folder), "--output", str(output)]
    polars = [sys.executable, str(HERE / "polars_prepare.py"), str(source), str(output)]
    pandas = [str(TOOLS / "pandas" / "bin" / "python"), str(HERE / "pandas_prepare.py"), str(source), str(output)]
    return {
        OURS: [sys.executable, *ours],
        POLARS: polars,
        PANDAS: pandas,
        POLARS_ROWS: [*polars, "--rows"],
        PANDAS_ROWS: [*pandas, "--rows"],
    }


def _make(folder: Path, rows: int, kind: str) -> Path:
    """A log of random steps, all of them usable, in one file; written in parts, so that memory stays small."""
    (folder / "data").mkdir()
    (folder / "run.yaml").write_text(RUN_FILE)
    parts = []
    for number, first in enumerate(range(0, rows, AT_ONCE)):
        parts.append(folder / f"part-{number:03}.parquet")
        _steps(first, min(AT_ONCE, rows - first)).write_parquet(parts[-1])
    target = folder / "data" / f"log.{'csv' if kind == 'csv' else 'parquet'}"
    together = pl.scan_parquet(parts)
    if kind == SHUFFLED:
        together.collect().sample(fraction=1, shuffle=True, seed=0).write_parquet(target)
    elif kind == "csv":
        together.sink_csv(target)
    else:
        together.sink_parquet(target)
    for part in parts:
        part.unlink()
    return target


def _steps(first: int, count: int) -> pl.DataFrame:
    generator = np.random.default_rng(first)
    number = np.arange(first, first + count)
    step = number % EPISODE_STEPS
    observed = {
        f"observation_{index}": generator.uniform(-most, most, count).astype(np.float32)
        for index, most in enumerate((1, 1, 0.1, 1))
    }
    ends = {"terminated": step == EPISODE_STEPS - 1, "truncated": np.zeros(count, bool)}
    acts = {"action": generator.integers(0, 2, count), "reward": np.ones(count)}
    return pl.DataFrame({"episode": number // EPISODE_STEPS, "step": step, **observed, **acts, **ends})


def _table(results: list[dict[str, Any]]) -> str:
    header = ["", "rows", "format", "runs", "wall s, median", "CPU s", "peak MB, most"]
    lines = []
    for rows, kind, _, names in SIZES:
        for name in names:
            costs = [one for one in results if (one["contender"], one["rows"], one["format"]) == (name, rows, kind)]
            wall, cpu = (median(cost[what] for cost in costs) for what in ("wall_seconds", "cpu_seconds"))
            most = max(cost["peak_mb"] for cost in costs)
            lines.append([name, f"{rows:,}", kind, f"{len(costs)}", f"{wall:.1f}", f"{cpu:.1f}", f"{most:.0f}"])
    return table(header, lines)

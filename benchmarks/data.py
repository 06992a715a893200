"""What preparing a log costs beside a Polars query of the same work written by hand, and how it grows with the rows."""

import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.process_cost import run
from benchmarks.results import ROOT, table, write

SIZES = ((20_000_000, "parquet"), (20_000_000, "csv"), (60_000_000, "parquet"))
EPISODE_STEPS = 200
AT_ONCE = 2_000_000
RUN_FILE = "environment: {id: CartPole-v1}\ndata: {kind: transitions}\n"


def main() -> str:
    """Prepare each log with each contender, in turn and each in a process of its own."""
    results: list[dict[str, Any]] = []
    for rows, kind in SIZES:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            source = _make(folder, rows, kind)
            contenders = {
                "prepare_data.py": [
                    "training_image/prepare_data.py",
                    "--experiment",
                    scratch,
                    "--output",
                    f"{scratch}/a",
                ],
                "Polars by hand": ["benchmarks/contenders/polars_prepare.py", str(source), f"{scratch}/b"],
            }
            for name, command in contenders.items():
                cost = run([sys.executable, *command], folder / "log.txt", ROOT)
                if cost.exit_code:
                    raise RuntimeError(f"{name} failed: {(folder / 'log.txt').read_text()}")
                results.append({"contender": name, "rows": rows, "format": kind} | asdict(cost))
                write("data", "python -m benchmarks data", {"results": results})
    return _table(results)


def _make(folder: Path, rows: int, kind: str) -> Path:
    """A log of random steps, all of them usable, in one file; written in parts, so that memory stays small."""
    (folder / "data").mkdir()
    (folder / "run.yaml").write_text(RUN_FILE)
    parts = []
    for number, first in enumerate(range(0, rows, AT_ONCE)):
        parts.append(folder / f"part-{number:03}.parquet")
        _steps(first, min(AT_ONCE, rows - first)).write_parquet(parts[-1])
    target = folder / "data" / f"log.{kind}"
    together = pl.scan_parquet(parts)
    together.sink_csv(target) if kind == "csv" else together.sink_parquet(target)
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
    header = ["", "rows", "format", "wall s", "CPU s", "peak MB"]
    lines = [
        [
            one["contender"],
            f"{one['rows']:,}",
            one["format"],
            f"{one['wall_seconds']:.1f}",
            f"{one['cpu_seconds']:.1f}",
            f"{one['peak_mb']:.0f}",
        ]
        for one in results
    ]
    return table(header, lines)

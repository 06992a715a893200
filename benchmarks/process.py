"""Whole processes: what 100,000 steps of PPO on CartPole-v1 cost from the first import to the exit.

The runs of all contenders take turns, so that a machine that gets slower does so for everybody. Ours take checkpoints
and metrics, evaluate 100 episodes every 10,000 steps, and write the policy as safetensors and ONNX; the others do
what they do of themselves.
"""

import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.contenders import CONTENDERS, Contender, install
from benchmarks.process_cost import run
from benchmarks.results import ROOT, table, write

BASE = "sample"


def main(chosen: list[str] | None = None) -> str:
    """Run everybody in turns; returns the table."""
    contenders = [one for one in CONTENDERS if chosen is None or one.name in chosen]
    for contender in contenders:
        if contender.environment:
            install(contender.environment)
    runs: dict[str, list[dict[str, Any]]] = {one.name: [] for one in contenders}
    for number in range(max(one.rounds for one in contenders)):
        for contender in contenders:
            if number < contender.rounds:
                runs[contender.name].append(_one(contender, seed=number))
                write("process", "python -m benchmarks process", {"runs": runs, "commands": _commands(contenders)})
    return _table(contenders, runs)


def _one(contender: Contender, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder)
        cost = run(contender.arguments(seed, output), output / "log", output)
        if cost.exit_code:
            tail = (output / "log").read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{contender.name} ended with {cost.exit_code}:\n{tail}")
    print(f"{contender.name}, seed {seed}: {cost.wall_seconds:.2f} s, {cost.cpu_seconds:.2f} s CPU", flush=True)  # noqa: T201
    return {"seed": seed, **vars(cost)}


def _commands(contenders: list[Contender]) -> dict[str, str]:
    return {
        one.name: " ".join(one.command).replace(str(ROOT) + "/", "").replace("{python}", _python(one))
        for one in contenders
    }


def _python(contender: Contender) -> str:
    return f".cache/peers/{contender.environment}/bin/python" if contender.environment else "python"


def _table(contenders: list[Contender], runs: dict[str, list[dict[str, Any]]]) -> str:
    def median(name: str, what: str) -> float:
        return statistics.median(float(one[what]) for one in runs[name])

    rows = []
    for one in contenders:
        wall, cpu, peak = (median(one.name, what) for what in ("wall_seconds", "cpu_seconds", "peak_mb"))
        ratios = []
        for theirs in ("ours-fast", "ours-sb3"):
            ratios.append(f"{cpu / median(theirs, 'cpu_seconds'):.1f}" if runs.get(theirs) else "")
        rows.append([one.title, str(len(runs[one.name])), f"{wall:.1f}", f"{cpu:.1f}", f"{peak:.0f}", *ratios])
    return table(["", "runs", "wall s", "CPU s", "peak MB", "CPU / fast path", "CPU / our SB3 class"], rows)

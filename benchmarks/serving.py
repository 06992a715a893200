"""Serving beside the stacks that people use: latency, throughput, memory, and the time to the first answer.

Every server has the same policy and one core; the load comes from wrk on another core. The servers take turns, each
started anew in every round. Ours runs as it is deployed: with validation, limits and metrics.
"""

import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.contenders import HERE, TOOLS, install
from benchmarks.process_cost import ONE_THREAD
from benchmarks.results import ROOT, table, write
from benchmarks.serving_model import write_model
from contract.policy import GOLDEN_DOCUMENT

ROUNDS = 3
SECONDS = 3
WARM_SECONDS = 2
MANY = 16
SERVER_CORE, CLIENT_CORE = "0", "1"
START_SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class Server:
    """A way to serve the policy. `command` may name `{python}`, `{port}`, `{model}` and `{folder}`, one for itself."""

    name: str
    title: str
    command: tuple[str, ...]
    environment: str | None = None
    variables: tuple[tuple[str, str], ...] = ()
    path: str = "/invocations"
    ask: Callable[[list[float]], Any] = lambda observation: {"observation": observation}
    action: Callable[[Any], Any] = lambda answer: answer["action"]
    prepare: Callable[[Path, Path], None] = lambda folder, model: None


def _prepare_mms(folder: Path, model: Path) -> None:
    (folder / "model").symlink_to(model)


def _prepare_mlserver(folder: Path, model: Path) -> None:
    shutil.copy(HERE / "serving_mlserver.py", folder)
    settings = {"name": "policy", "implementation": "serving_mlserver.Policy"}
    (folder / "model-settings.json").write_text(json.dumps(settings))
    (folder / "settings.json").write_text(json.dumps({"debug": False, "parallel_workers": 0}))


def _ask_mlserver(observation: list[float]) -> Any:
    return {"inputs": [{"name": "observation", "shape": [1, 4], "datatype": "FP32", "data": observation}]}


SERVERS = (
    Server(
        name="ours",
        title="ours",
        command=("{python}", "-m", "serving_image.server", "serve"),
        variables=(
            ("SM_MODEL_DIR", "{model}"),
            ("SAGEMAKER_BIND_TO_PORT", "{port}"),
            ("RLPIPE_BIND_HOST", "127.0.0.1"),
            ("RLPIPE_STAGE", "benchmark"),
            ("RLPIPE_ENDPOINT", "benchmark"),
            ("RLPIPE_METRICS_SECONDS", "2"),
        ),
    ),
    Server(
        name="mlserver",
        title="MLServer 1.7.1, no parallel workers, ONNX Runtime",
        command=("{python}", "-c", "from mlserver.cli import main; main()", "start", "{folder}"),
        environment="mlserver",
        variables=(
            ("MLSERVER_HOST", "127.0.0.1"),
            ("MLSERVER_HTTP_PORT", "{port}"),
            ("MLSERVER_GRPC_PORT", "0"),
            ("MLSERVER_METRICS_PORT", "0"),
        ),
        path="/v2/models/policy/infer",
        ask=_ask_mlserver,
        action=lambda answer: answer["outputs"][0]["data"][0],
        prepare=_prepare_mlserver,
    ),
    Server(
        name="litserve",
        title="LitServe 0.2.19, ONNX Runtime",
        command=("{python}", str(HERE / "serving_litserve.py")),
        environment="litserve",
        path="/predict",
    ),
    Server(
        name="bentoml",
        title="BentoML 1.4.40, one worker, ONNX Runtime",
        command=("{python}", str(HERE / "serving_bentoml.py")),
        environment="bentoml",
        variables=(("BENTOML_HOME", "{folder}"), ("BENTOML_DO_NOT_TRACK", "true")),
    ),
    Server(
        name="ray",
        title="Ray Serve 2.60.0, one replica, ONNX Runtime",
        command=("{python}", str(HERE / "serving_ray.py")),
        environment="ray",
        variables=(("RAY_TMPDIR", "{folder}"), ("RAY_USAGE_STATS_ENABLED", "0")),
    ),
    Server(
        name="torchserve",
        title="TorchServe 0.12.0, one worker, ONNX Runtime",
        command=("{python}", str(HERE / "serving_torchserve.py")),
        environment="torchserve",
        variables=(("STORE", "{folder}"),),
        path="/predictions/policy",
    ),
    Server(
        name="mms",
        title="SageMaker's inference toolkit 1.10.1, multi-model server 1.1.11, one worker, ONNX Runtime",
        command=("{python}", str(HERE / "serving_mms.py")),
        environment="mms",
        variables=(
            ("SAGEMAKER_BASE_DIR", "{folder}"),
            ("SAGEMAKER_BIND_TO_PORT", "{port}"),
            ("SAGEMAKER_MODEL_SERVER_WORKERS", "1"),
        ),
        prepare=_prepare_mms,
    ),
    Server(
        name="fastapi",
        title="Stable-Baselines3's predict behind FastAPI 0.165.0",
        command=("{python}", str(HERE / "serving_fastapi.py")),
        environment="fastapi",
    ),
)


def main() -> str:
    """Serve and ask in turns; returns the table.

    Raises:
        RuntimeError: there is no `wrk`, or a server does not start or answers wrongly.
    """
    _tool("wrk")
    for server in SERVERS:
        if server.environment:
            install(server.environment)
    runs: dict[str, list[dict[str, Any]]] = {server.name: [] for server in SERVERS}
    with tempfile.TemporaryDirectory() as folder:
        model = write_model(Path(folder) / "model")
        for number in range(ROUNDS):
            for server in SERVERS:
                own = Path(folder) / f"{server.name}-{number}"
                own.mkdir()
                runs[server.name].append(_measure(server, model, own))
                print(server.name, json.dumps(runs[server.name][-1]), flush=True)  # noqa: T201
            write("serving", "python -m benchmarks serving", {"runs": runs})
    return _table(runs)


def _tool(name: str) -> str:
    found = shutil.which(name)
    if not found:
        raise RuntimeError(f"{name} is needed: apt-get install wrk util-linux")
    return found


def _measure(server: Server, model: Path, folder: Path) -> dict[str, Any]:
    golden = json.loads((model / GOLDEN_DOCUMENT).read_text())
    bodies = [json.dumps(server.ask(observation)) for observation in golden["observations"]]
    (folder / "bodies").write_text("\n".join(bodies))
    server.prepare(folder, model)
    port = _free_port()
    python = str(TOOLS / server.environment / "bin" / "python") if server.environment else sys.executable

    def filled(text: str) -> str:
        return text.format(python=python, port=port, model=model, folder=folder)

    variables = {name: filled(value) for name, value in server.variables}
    began = time.perf_counter()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [_tool("taskset"), "-c", SERVER_CORE, *map(filled, server.command)],
            cwd=folder if server.environment else ROOT,
            env={**os.environ, **ONE_THREAD, "MODEL_FOLDER": str(model), "PORT": str(port), "TMPDIR": str(folder)}
            | variables,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}{server.path}"
        _first_answer(url, bodies[0], process, folder / "log")
        cold = time.perf_counter() - began
        wrong = [
            index
            for index, (body, action) in enumerate(zip(bodies, golden["actions"], strict=True))
            if server.action(_ask(url, body)) != action
        ]
        if wrong:
            raise RuntimeError(f"{server.name} answers wrongly to {len(wrong)} observations")
        _load(url, folder / "bodies", connections=MANY, seconds=WARM_SECONDS)
        first = _cpu_seconds(process.pid)
        alone = _load(url, folder / "bodies", connections=1, seconds=SECONDS)
        before = _cpu_seconds(process.pid)
        many = _load(url, folder / "bodies", connections=MANY, seconds=SECONDS)
        cpu = _cpu_seconds(process.pid) - before
        return {
            "cold_seconds": round(cold, 3),
            "p50_us": alone["p50_us"],
            "cpu_us_alone": round(1e6 * (before - first) / alone["requests"], 1),
            "p99_us": alone["p99_us"],
            "requests_per_second": round(many["requests"] / many["seconds"]),
            "cpu_us_per_request": round(1e6 * cpu / many["requests"], 1),
            "errors": alone["errors"] + many["errors"],
            "resident_mb": round(sum(one.memory_info().rss for one in _tree(process.pid)) / 2**20, 1),
        }
    finally:
        for one in _tree(process.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()


def _free_port() -> int:
    """One below 32767: the multi-model server takes no other."""
    for port in range(4640, 32767):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise RuntimeError("no port is free")


def _first_answer(url: str, body: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            _ask(url, body)
        except (OSError, urllib.error.URLError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"a server did not start:\n{log.read_text(errors='replace')[-2000:]}") from None
            time.sleep(0.005)
        else:
            return


def _ask(url: str, body: str) -> Any:
    request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - a server of ours
        return json.load(answer)


def _load(url: str, bodies: Path, *, connections: int, seconds: int) -> dict[str, Any]:
    client = [_tool("taskset"), "-c", CLIENT_CORE, _tool("wrk")]
    asked = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "-s", str(HERE / "ask.lua"), url]
    said = subprocess.run([*client, *asked, "--", str(bodies)], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(said.stdout.splitlines()[-1])
    return found


def _tree(pid: int) -> list[psutil.Process]:
    """The processes of a server's session, where some leave what they started, and all that descend from these."""

    def is_in(one: psutil.Process) -> bool:
        try:
            return os.getsid(one.pid) == pid
        except ProcessLookupError:
            return False

    members = [one for one in psutil.process_iter() if is_in(one)]
    for one in list(members):
        with contextlib.suppress(psutil.NoSuchProcess):
            members += [child for child in one.children(recursive=True) if child not in members]
    return members


def _cpu_seconds(pid: int) -> float:
    return sum(one.cpu_times().user + one.cpu_times().system for one in _tree(pid))


def _table(runs: dict[str, list[dict[str, Any]]]) -> str:
    columns: tuple[tuple[str, str, Callable[[list[float]], float], str], ...] = (
        ("first answer s", "cold_seconds", statistics.median, ".2f"),
        ("resident MB", "resident_mb", statistics.median, ".0f"),
        ("1 connection: p50 us", "p50_us", statistics.median, ",.0f"),
        ("p99 us", "p99_us", statistics.median, ",.0f"),
        ("CPU us a request", "cpu_us_alone", statistics.median, ",.0f"),
        (f"{MANY} connections: requests/s", "requests_per_second", statistics.median, ",.0f"),
        ("best round", "requests_per_second", max, ",.0f"),
        ("CPU us a request", "cpu_us_per_request", statistics.median, ",.0f"),
        ("errors", "errors", sum, ".0f"),
    )
    rows = []
    for server in SERVERS:
        figures = [format(over([one[what] for one in runs[server.name]]), form) for _, what, over, form in columns]
        rows.append([server.title, *figures])
    return table(["", *(title for title, *_ in columns)], rows)

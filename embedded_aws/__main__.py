"""The laptop's AWS: `python -m embedded_aws --port N --state-dir DIR [--assembly CDK_OUT_DIR]`."""

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from embedded_aws import keeping
from embedded_aws.processes.containers import Engine, remove_all
from embedded_aws.settings import MARKER_VARIABLE, Settings
from embedded_aws.warden import Warden, sweep

if TYPE_CHECKING:
    from embedded_aws.service import Groups


def main() -> int:
    """Run an instance until SIGTERM or SIGINT; returns the exit code."""
    options = _options()
    state_dir: Path = options.state_dir.resolve()
    state_dir.mkdir(parents=True, exist_ok=True)
    lock = _lock(state_dir)
    if lock is None:
        print(f"another embedded AWS runs in {state_dir}", file=sys.stderr)  # noqa: T201
        return 1
    _sweep_leftovers(state_dir)
    marker = os.environ.get(MARKER_VARIABLE) or str(uuid.uuid4())
    settings = Settings(
        port=options.port,
        state_dir=state_dir,
        marker=marker,
        assembly=options.assembly.resolve() if options.assembly else None,
        engine=Engine(options.containers, marker) if options.containers else None,
        note_calls=options.note_calls,
        functions_ahead=options.functions_ahead,
        keep=options.keep,
        kill_grace_seconds=options.kill_grace_seconds,
        minimum_timeout_seconds=options.minimum_timeout_seconds,
        startup_seconds=options.startup_seconds,
    )
    _prepare_environment(settings)
    instance = {"marker": marker, "pid": os.getpid(), "containers": options.containers}
    (state_dir / "instance.json").write_text(json.dumps(instance))
    return _run(settings, Warden(marker, options.containers))


def _run(settings: Settings, warden: Warden) -> int:
    # Only now: ministack reads its settings from the environment when it is imported.
    from embedded_aws import hooks, service

    groups = service.Groups(warden)
    try:
        keeper = service.install(settings, groups)
        asyncio.run(_serve(settings.port, groups, keeper))
    except (hooks.HookError, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201
    groups.stop_all(patience_seconds=1)
    return 1


async def _serve(port: int, groups: "Groups", keeper: "keeping.Keeper | None") -> None:
    """Serve until SIGTERM or SIGINT, then end the process. Raises OSError when the port cannot be had."""
    from embedded_aws import hooks
    from embedded_aws.guard import local_callers_only

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    serving = asyncio.create_task(
        hooks.serve(port, lambda app: local_callers_only(keeper.watch(app) if keeper else app))
    )
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([serving, stopped], return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()
    if keeper:
        keeper.save()
    groups.stop_all(patience_seconds=1)
    sys.stdout.flush()
    os._exit(0)  # Nothing here outlives the instance, so nothing is worth waiting for; the warden ends the rest.


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m embedded_aws", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="the port on 127.0.0.1 that all services answer at")
    parser.add_argument("--state-dir", type=Path, required=True, help="folder of this instance's files")
    parser.add_argument("--assembly", type=Path, help="CDK output folder; <state-dir>/cdk.out is always looked at")
    parser.add_argument("--containers", metavar="DOCKER", help="run jobs and endpoints in containers, by this client")
    parser.add_argument(
        "--keep", action="store_true", help="keep what is stored in <state-dir>/kept, and go on with it"
    )
    parser.add_argument(
        "--functions-ahead", type=int, default=0, metavar="N", help="have N processes wait for functions"
    )
    parser.add_argument("--note-calls", action="store_true", help="note what roles call in <state-dir>/calls.jsonl")
    parser.add_argument("--kill-grace-seconds", type=float, default=30.0, help="between SIGTERM and SIGKILL of a job")
    parser.add_argument("--minimum-timeout-seconds", type=float, default=60.0, help="shortest job attempt timeout")
    parser.add_argument("--startup-seconds", type=float, default=60.0, help="time a server has to answer /ping")
    return parser.parse_args()


def _lock(state_dir: Path) -> TextIO | None:
    """Hold the state folder for the life of this process; None when another instance holds it."""
    lock = (state_dir / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return None
    return lock


def _sweep_leftovers(state_dir: Path) -> None:
    """End what an earlier instance in this folder left behind, and remove its temporary files."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        instance = json.loads((state_dir / "instance.json").read_text())
        if instance["marker"] != os.environ.get(MARKER_VARIABLE):
            sweep(instance["marker"], set())
            if instance["containers"]:
                remove_all(instance["containers"], instance["marker"])
    for name in ("models", "tmp"):
        shutil.rmtree(state_dir / name, ignore_errors=True)
        (state_dir / name).mkdir()


def _prepare_environment(settings: Settings) -> None:
    """What this process and all its descendants see. Nothing of the user's AWS account is among it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(settings.client_environment())
    os.environ.update(
        {
            MARKER_VARIABLE: settings.marker,
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(settings.port),
            "MINISTACK_HOST": "localhost",
            "LAMBDA_EXECUTOR": "local",
            "AUTH": "true",
            # Their listeners would open further ports.
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "LOG_LEVEL": os.environ.get("LOG_LEVEL", "WARNING"),
        }
    )
    if settings.keep:
        os.environ.update(keeping.environment(settings.state_dir / keeping.FOLDER))
    tempfile.tempdir = str(settings.state_dir / "tmp")  # where ministack unpacks functions


if __name__ == "__main__":
    sys.exit(main())

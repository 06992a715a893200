"""Starts the serving container: `python -m serving_image.server [serve]`.

The environment decides:
- where to listen: SAGEMAKER_BIND_TO_PORT (8080), RLPIPE_BIND_HOST (0.0.0.0, as SageMaker needs it);
- what to serve: SM_MODEL_DIR (/opt/ml/model) holds a policy, or a folder for each of several. With
  SAGEMAKER_MULTI_MODEL=true they come later, by `POST /models`, from RLPIPE_MODELS_ROOT (/opt/ml/models). Where nobody
  puts a folder there, RLPIPE_MODEL_URI names the archive of a policy in S3;
- the metrics: RLPIPE_STAGE, RLPIPE_ENDPOINT, RLPIPE_METRICS_SECONDS (60).

Nothing listens before the policy has answered as it did in validation, so a /ping that succeeds means that the right
policy serves.
"""

import asyncio
import gc
import re
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import environ
from pathlib import Path
from typing import Self

import uvloop

from contract.metrics import ENDPOINT, ENDPOINT_VARIABLE, SECONDS_VARIABLE, STAGE, STAGE_VARIABLE
from contract.outcomes import ExitCode
from contract.policy import MODEL_URI_VARIABLE
from serving_image import logs
from serving_image.application import Application
from serving_image.connection import Connections
from serving_image.measuring import Measuring
from serving_image.model_folder import ModelError
from serving_image.models import Models, load_folder
from serving_image.policy import ServedPolicy

STOP_SECONDS = 25
"""SageMaker kills a container 30 seconds after SIGTERM; what has begun is finished before."""

BACKLOG = 2048


class SettingError(ValueError):
    """An environment variable says something that it cannot."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where to listen, what to serve, and whose metrics they are."""

    host: str
    port: int
    model_folder: Path
    model_uri: str | None
    models_root: Path | None
    metrics_seconds: float
    dimensions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings.

        Raises:
            SettingError: one of them is not what it must be.
        """
        port = environment.get("SAGEMAKER_BIND_TO_PORT", "8080")
        if not (port.isascii() and port.isdigit() and int(port) < 2**16):
            raise SettingError(f"SAGEMAKER_BIND_TO_PORT: a port from 0 (any free one) to 65535 (given: {port!r}).")
        several = environment.get("SAGEMAKER_MULTI_MODEL", "false")
        if several not in ("true", "false"):
            raise SettingError(f"SAGEMAKER_MULTI_MODEL: true or false (given: {several!r}).")
        seconds = environment.get(SECONDS_VARIABLE, "60")
        if not (seconds.isascii() and seconds.isdigit() and int(seconds) >= 1):
            raise SettingError(f"{SECONDS_VARIABLE}: whole seconds, at least 1 (given: {seconds!r}).")
        uri = environment.get(MODEL_URI_VARIABLE)
        if uri is not None and (not re.fullmatch(r"s3://[^/?#]+/[^?#]+", uri) or several == "true"):
            raise SettingError(
                f"{MODEL_URI_VARIABLE}: s3://bucket/key of one policy's archive, without SAGEMAKER_MULTI_MODEL "
                f"(given: {uri!r})."
            )
        names = {STAGE: environment.get(STAGE_VARIABLE, ""), ENDPOINT: environment.get(ENDPOINT_VARIABLE, "")}
        return cls(
            host=environment.get("RLPIPE_BIND_HOST", "0.0.0.0"),  # noqa: S104 - SageMaker calls from outside
            port=int(port),
            model_folder=Path(environment.get("SM_MODEL_DIR", "/opt/ml/model")),
            model_uri=uri,
            models_root=Path(environment.get("RLPIPE_MODELS_ROOT", "/opt/ml/models")) if several == "true" else None,
            metrics_seconds=int(seconds),
            dimensions={name: value for name, value in names.items() if value},
        )


def main() -> int:
    """Load, prove, serve until SIGTERM; answers the exit code. SageMaker's argument `serve` is ignored."""
    # It also ends a container that is still loading, which process 1 would not do by itself.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(ExitCode.DONE))
    try:
        settings = Settings.from_environment(environ)
        loaded = _load(settings)
    except SettingError as error:
        logs.error(f"Not serving. {error}")
        return ExitCode.USAGE
    except ModelError as error:
        logs.error(f"Not serving. {error}")
        return ExitCode.FAILED
    for name, (policy, proven) in loaded.items():
        logs.info(
            f"Run {policy.run_id}: {proven} recorded observations answered as in validation.",
            model=name,
            run_id=policy.run_id,
        )
    models = Models({name: policy for name, (policy, _) in loaded.items()}, settings.models_root)
    # What is here by now stays, so no collection need look at it; what requests leave behind are hardly ever cycles.
    gc.collect()
    gc.freeze()
    uvloop.run(serve(models, settings))
    return ExitCode.DONE


def _load(settings: Settings) -> dict[str, tuple[ServedPolicy, int]]:
    """The policies to begin with, as `load_folder` has them."""
    if settings.models_root is not None:
        return {}
    if settings.model_uri is None:
        return load_folder(settings.model_folder)
    # Only here: it would cost every other container 20 ms of its start.
    from serving_image.fetching import fetch

    try:
        with tempfile.TemporaryDirectory() as folder:
            fetch(settings.model_uri, Path(folder), environ)
            return load_folder(Path(folder))
    except OSError as error:
        raise ModelError(f"{settings.model_uri} has no place to be extracted to: {error}.") from error


async def serve(models: Models, settings: Settings) -> None:
    """Answer requests until SIGTERM or SIGINT; then finish those that have begun."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: logs.error(f"A fault: {context['message']}."))
    measuring = Measuring(settings.dimensions)
    connections = Connections(Application(models, measuring))
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    listener = socket.create_server((settings.host, settings.port), backlog=BACKLOG)
    server = await loop.create_server(connections, sock=listener, backlog=BACKLOG)
    host, port = listener.getsockname()[:2]
    logs.info(f"Serving on {host}:{port}.", host=host, port=port)
    ticking = loop.create_task(_tick(connections, measuring, settings.metrics_seconds))
    await stopping.wait()
    logs.info("Stopping: what has begun is finished.", connections=len(connections.open))
    server.close()
    connections.close()
    deadline = loop.time() + STOP_SECONDS
    while connections.open and loop.time() < deadline:
        await asyncio.sleep(0.02)
    connections.abort()
    ticking.cancel()
    _say(measuring)


async def _tick(connections: Connections, measuring: Measuring, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time() + seconds
    while True:
        await asyncio.sleep(1)
        connections.tick()
        if loop.time() >= due:
            due = loop.time() + seconds
            _say(measuring)


def _say(measuring: Measuring) -> None:
    line = measuring.line()
    if line is not None:
        logs.line(line)


if __name__ == "__main__":
    sys.exit(main())

"""Starts the serving container: `python -m serving_image.server [serve]`.

The environment decides where: SAGEMAKER_BIND_TO_PORT (8080), RLPIPE_BIND_HOST (0.0.0.0, as SageMaker needs it)
and SM_MODEL_DIR (/opt/ml/model). Nothing listens before the policy has answered as it did in validation, so a
/ping that succeeds means that the right policy serves.
"""

import logging
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import uvicorn

from contract.outcomes import ExitCode
from serving_image.application import Application
from serving_image.model_folder import ModelError
from serving_image.policy import ServedPolicy

STOP_SECONDS = 25
"""SageMaker kills a container 30 seconds after SIGTERM; what has begun is finished before."""

KEEP_ALIVE_SECONDS = 75
"""Longer than the callers keep theirs, so that no connection is closed just as a request is sent."""

logger = logging.getLogger("serving")


class SettingError(ValueError):
    """An environment variable says something that it cannot."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where to listen and what to serve."""

    host: str
    port: int
    model_folder: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings.

        Raises:
            SettingError: the port is not a port.
        """
        port = environment.get("SAGEMAKER_BIND_TO_PORT", "8080")
        if not (port.isascii() and port.isdigit() and int(port) < 2**16):
            raise SettingError(f"SAGEMAKER_BIND_TO_PORT: a port from 0 (any free one) to 65535 (given: {port!r}).")
        return cls(
            host=environment.get("RLPIPE_BIND_HOST", "0.0.0.0"),  # noqa: S104 - SageMaker calls from outside
            port=int(port),
            model_folder=Path(environment.get("SM_MODEL_DIR", "/opt/ml/model")),
        )


def main() -> int:
    """Load, prove, serve until SIGTERM; answers the exit code. SageMaker's argument `serve` is ignored."""
    # The handler that uvicorn falls back to once it has finished: a wanted end is not a failure. It also ends
    # a container that is still loading, which process 1 would not do by itself.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(ExitCode.DONE))
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        settings = Settings.from_environment(os.environ)
        policy = ServedPolicy(settings.model_folder)
    except SettingError as error:
        logger.error("Not serving. %s", error)
        return ExitCode.USAGE
    except ModelError as error:
        logger.error("Not serving. %s", error)
        return ExitCode.FAILED
    logger.info(
        "Run %s: %d recorded observations answered as in validation.", policy.document["run_id"], policy.golden_count
    )
    return _serve(Application(policy), settings)


def _serve(application: Application, settings: Settings) -> int:
    config = uvicorn.Config(
        application,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=2048,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    listener = config.bind_socket()
    listener.listen(config.backlog)
    logger.info("Serving on %s:%d.", *listener.getsockname()[:2])
    uvicorn.Server(config).run(sockets=[listener])
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())

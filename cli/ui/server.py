"""The page's server: its routes, and what it says when something goes wrong."""

import secrets
import socket
from pathlib import Path
from typing import Any

import uvicorn
from botocore.exceptions import BotoCoreError, ClientError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from cli.deployment import Deployment
from cli.errors import CliError, explain
from cli.ui import policies, runs
from cli.ui.guard import Guard
from cli.ui.pages import page
from cli.ui.watched import Watched
from contract.outcomes import ExitCode

ADDRESS = "127.0.0.1"

_HERE = Path(__file__).parent
_CHARTS = _HERE.parents[1] / "training_image" / "trainer" / "report" / "charts"


def application(deployment: Deployment, *, port: int, token: str) -> Starlette:
    """The page of a deployment. Only who has the token, on this port, is let in."""
    app = Starlette(
        routes=[
            *runs.ROUTES,
            *policies.ROUTES,
            Mount("/static/charts", StaticFiles(directory=_CHARTS)),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
        ],
        middleware=[Middleware(Guard, port=port, token=token)],
        exception_handlers={
            HTTPException: _http_problem,
            **dict.fromkeys((CliError, ClientError, BotoCoreError), _problem),
            Exception: _fault,
        },
    )
    app.state.deployment = deployment
    app.state.watched = Watched(deployment)
    return app


class Server:
    """The page on a port of this machine, from `address` on until `serve` ends.

    Raises:
        CliError: the port is taken.
    """

    def __init__(self, deployment: Deployment, port: int) -> None:
        self._socket = _bound(port)
        self.token = secrets.token_urlsafe(24)
        self.port: int = self._socket.getsockname()[1]
        app = application(deployment, port=self.port, token=self.token)
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1, lifespan="off")
        self._server = uvicorn.Server(config)

    @property
    def address(self) -> str:
        """What is opened in a browser; it holds the token."""
        return f"http://{ADDRESS}:{self.port}/?token={self.token}"

    def serve(self) -> None:
        """Answer until Ctrl-C, SIGTERM or `end`."""
        self._server.run(sockets=[self._socket])

    def end(self) -> None:
        """Let `serve` return."""
        self._server.should_exit = True


def _bound(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((ADDRESS, port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise CliError(
            f"port {port} of this machine is taken",
            next_step="`rlpipe ui --port 0` takes a free one",
            exit_code=ExitCode.USAGE,
        ) from error
    return listening


def _http_problem(request: Request, error: Any) -> Response:
    message = "There is no such page." if error.status_code == 404 else str(error.detail)
    return page(request, "problem.html", error.status_code, message=message)


def _problem(request: Request, error: Exception) -> Response:
    known = error if isinstance(error, CliError) else explain(error)
    assert known is not None, "errors of the AWS SDK can be explained"
    return page(request, "problem.html", 502, message=f"{known.message}. Next: {known.next_step}.")


def _fault(request: Request, _error: Exception) -> Response:
    return page(request, "problem.html", 500, message="This page has a fault; the terminal of `rlpipe ui` shows it.")

"""`local`: the AWS of this machine, started, shown and ended."""

import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from cli import output
from cli.commands.options import AsJson
from cli.deployment import VARIABLES, state_folder
from cli.errors import CliError
from contract.outcomes import ExitCode

if TYPE_CHECKING:
    from embedded_aws.lifecycle import Running

_DONE_MARK = "✅"
"""How the CDK command line begins the line of a stack that is deployed."""

app = typer.Typer(help="The embedded AWS of this machine.", no_args_is_help=True)


@app.command()
def up(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port on 127.0.0.1; 4566 if left out.", show_default=False)
    ] = None,
    containers: Annotated[
        bool, typer.Option("--containers", help="Run jobs and endpoints in containers, by the engine of `docker`.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep objects, runs and endpoints beyond its end; the next `--keep` goes on.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start the embedded AWS and deploy every stack to it. Does only what has not been done."""
    from embedded_aws import lifecycle

    folder = _state_folder()
    with _explained():
        running, until_it_answers = lifecycle.status(folder), lifecycle.nothing
        if running is None or port not in (None, running.port) or _lacks(running, containers, keep):
            running, until_it_answers = lifecycle.begin(
                folder, port or lifecycle.DEFAULT_PORT, containers=containers, keep=keep
            )
        with _deploying(running.endpoint_url) as say:
            deployed = lifecycle.deploy(running, on_line=say, until_it_answers=until_it_answers)
    if as_json:
        document = {"endpoint_url": running.endpoint_url, "seconds": deployed.seconds}
        output.document({**document, "environment": _environment(running)})
        return
    output.stdout.print(f"AWS is up on this machine at {running.endpoint_url}; the pipeline is deployed to it.")
    if deployed.unchanged:
        return
    for command, purpose in (
        ("rlpipe submit examples/cartpole --watch", "train, validate and serve a policy"),
        ('eval "$(rlpipe local env)"', "use it with any AWS client"),
        ("rlpipe local down", "end it and everything it started"),
    ):
        output.stdout.print(f"  {command:<41} {purpose}", markup=False)


def _lacks(running: "Running", containers: bool, keep: bool) -> bool:
    """Whether what is up was started without what is wanted now."""
    return (containers and not running.engine_client) or (keep and not running.keep)


@app.command()
def down(as_json: AsJson = False) -> None:
    """End the embedded AWS and every process that it started."""
    from embedded_aws import lifecycle

    with _explained():
        was_up = lifecycle.stop(_state_folder())
    if as_json:
        output.document({"was_up": was_up})
    else:
        output.stdout.print("The embedded AWS is down." if was_up else "The embedded AWS was not up.")


@app.command()
def status(as_json: AsJson = False) -> None:
    """Say whether the embedded AWS is up. Exits with 1 when it is not."""
    from embedded_aws import lifecycle

    running = lifecycle.status(_state_folder())
    if as_json:
        output.document({"up": running is not None, **(_known(running) if running else {})})
    elif running is None:
        output.stdout.print("The embedded AWS is not up; `rlpipe local up` starts it.")
    else:
        output.stdout.print(
            f"AWS is up on this machine at {running.endpoint_url} since {running.started_at}, process {running.pid}."
        )
    if running is None:
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def env(as_json: AsJson = False) -> None:
    """Print the environment of the embedded AWS, for `eval "$(rlpipe local env)"`."""
    from embedded_aws import lifecycle

    running = lifecycle.status(_state_folder())
    if running is None:
        raise CliError("the embedded AWS is not up", next_step="`rlpipe local up`")
    environment = _environment(running)
    if as_json:
        output.document(environment)
        return
    for name, value in environment.items():
        output.stdout.print(f"export {name}={shlex.quote(value)}", markup=False)


def _known(running: "Running") -> dict[str, object]:
    return {"endpoint_url": running.endpoint_url, "pid": running.pid, "started_at": running.started_at}


def _environment(running: "Running") -> dict[str, str]:
    """What a shell needs to reach this AWS and this deployment."""
    from embedded_aws import lifecycle

    outputs = lifecycle.outputs(running)
    missing = [name for name in VARIABLES.values() if name not in outputs]
    if missing:
        raise CliError(
            f"the deployment has no output {', '.join(missing)}", next_step="`rlpipe local up` deploys again"
        )
    names = {variable: outputs[name] for variable, name in VARIABLES.items()}
    return {**lifecycle.environment(running), **names}


@contextmanager
def _deploying(endpoint_url: str) -> Iterator[Callable[[str], None]]:
    """Show what the deployment says: its last line in a terminal, the stacks that are done anywhere else."""
    if not output.stderr.is_terminal:
        yield lambda line: output.stderr.print(line, markup=False) if line.startswith(_DONE_MARK) else None
        return
    title = f"Deploying to {endpoint_url}"
    with output.stderr.status(title) as shown:
        yield lambda line: shown.update(Text(f"{title}  {line.strip()}"[: output.stderr.width - 4])) if line else None


@contextmanager
def _explained() -> Iterator[None]:
    """The embedded AWS's own errors as this program's."""
    from embedded_aws.lifecycle import LifecycleError

    try:
        yield
    except LifecycleError as error:
        raise CliError(str(error).rstrip("."), next_step=f"its logs are in {_state_folder() / 'logs'}") from error


def _state_folder() -> Path:
    return state_folder(os.environ, Path.cwd())

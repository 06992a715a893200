"""The routes about endpoints: what serves, its traffic, asking it, letting it play."""

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from cli.artifacts import read_json
from cli.deployment import Deployment
from cli.endpoints import ask
from cli.errors import CliError, explain
from cli.run_files import known_environment
from cli.ui import play, traffic
from cli.ui.forms import form_of
from cli.ui.pages import deployment_of, page
from cli.watch import now
from contract.api import route
from contract.catalogue import CatalogueSpace
from contract.layout import RunLayout

COMMANDS = {name: route(f"{name}Policy").summary for name in ("rollback", "off", "on", "delete")}
"""What an endpoint may be told, and what it does, as the API has it."""

MOST_FIELDS = 32
"""Numbers of an observation that have a field each; longer ones are written as JSON."""


def list_policies(request: Request) -> Response:
    """The endpoints of the account."""
    try:
        policies, error = deployment_of(request).api.policies(), None
    except CliError as refusal:
        policies, error = [], refusal
    return page(request, "policies.html", policies=policies, error=error)


def show_policy(request: Request) -> Response:
    """One endpoint."""
    name = request.path_params["endpoint"]
    deployment = deployment_of(request)
    try:
        policy = deployment.api.policy(name)
    except CliError as error:
        return page(request, "problem.html", 404, message=f"{error.message}.")
    if request.headers.get("hx-request"):
        return page(request, "policy_now.html", policy=policy, commands=_commands(policy), error=None)
    environment = _environment(deployment, policy)
    space = _space(environment)
    return page(
        request,
        "policy.html",
        policy=policy,
        commands=_commands(policy),
        error=None,
        environment=environment,
        space=space,
        fields=_fields(space),
        example=json.dumps(_example(space)),
        hindrance=play.hindrance(environment),
        charts=traffic.charts(deployment, name, now()),
    )


async def command(request: Request) -> Response:
    """Give an endpoint a command, and show what became of it."""
    form = await form_of(request)
    return await run_in_threadpool(_give, request, form)


def _give(request: Request, form: dict[str, str]) -> Response:
    name, wanted = request.path_params["endpoint"], request.path_params["command"]
    if wanted not in COMMANDS:
        return page(request, "problem.html", 404, message=f"There is no command {wanted}.")
    api = deployment_of(request).api
    said: CliError | None = None
    try:
        api.command_policy(name, wanted, reason=form.get("reason"))
    except CliError as error:
        said = error
    if not request.headers.get("hx-request"):
        return RedirectResponse(f"/policies/{name}", 303)
    policy = api.policy(name)
    return page(request, "policy_now.html", policy=policy, commands=_commands(policy), error=said)


async def ask_policy(request: Request) -> Response:
    """Ask an endpoint for its action on the observation of a form."""
    form = await form_of(request)
    return await run_in_threadpool(_ask, request, form)


def _ask(request: Request, form: dict[str, str]) -> Response:
    answer: Any = None
    problem = ""
    try:
        answer = ask(deployment_of(request), request.path_params["endpoint"], _observation(form))["action"]
    except ValueError as error:
        problem = f"That is no observation: {error}"
    except CliError as error:
        problem = f"{error.message}. {error.next_step}"
    return page(request, "answer.html", answer=json.dumps(answer), problem=problem)


async def play_policy(request: Request) -> Response:
    """An episode, a JSON document a line, for as long as somebody looks."""
    form = await form_of(request)
    name = request.path_params["endpoint"]
    deployment = deployment_of(request)
    environment = await run_in_threadpool(lambda: _environment(deployment, deployment.api.policy(name)))
    if reason := play.hindrance(environment):
        return Response(json.dumps({"problem": reason}) + "\n", media_type="application/x-ndjson")
    assert environment is not None
    seed = int(form["seed"]) if form.get("seed", "").isdigit() else None
    steps = play.episode(
        environment["id"], environment["kwargs"], lambda seen: ask(deployment, name, seen)["action"], seed
    )
    return StreamingResponse(_in_one_thread(steps), media_type="application/x-ndjson")


async def _in_one_thread(steps: Any) -> AsyncIterator[str]:
    """The steps as lines, all made in the same thread, which ends with them or with whoever looked."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, thread_name_prefix="play") as thread:
        try:
            while (line := await loop.run_in_executor(thread, _next_line, steps)) is not None:
                yield line
        finally:
            await asyncio.shield(loop.run_in_executor(thread, steps.close))


def _next_line(steps: Any) -> str | None:
    try:
        return json.dumps(next(steps)) + "\n"
    except StopIteration:
        return None
    except Exception as error:
        known = error if isinstance(error, CliError) else explain(error)
        if known is None:
            raise
        return json.dumps({"problem": f"{known.message}. {known.next_step}"}) + "\n"


def _commands(policy: dict[str, Any]) -> dict[str, str]:
    """The commands that are offered, and what they do; whether one makes sense now, the API says."""
    status = policy["status"]
    offered = {"Off": ("on", "delete"), "Deleted": ()}.get(status, ("rollback", "off", "delete"))
    return {name: COMMANDS[name] for name in offered if name != "rollback" or policy["before"]}


def _environment(deployment: Deployment, policy: dict[str, Any]) -> dict[str, Any] | None:
    """The environment that the serving policy was trained in, as its run file has it."""
    run_id = policy["run_id"]
    run = read_json(deployment, RunLayout(run_id=run_id).specification) if run_id else None
    found: dict[str, Any] | None = run["specification"]["environment"] if run else None
    return found


def _space(environment: dict[str, Any] | None) -> CatalogueSpace | None:
    known = known_environment(environment)
    return known.observation_space if known else None


def _fields(space: CatalogueSpace | None) -> int:
    """How many numbers a form asks for; 0 when the observation is written as JSON."""
    if space is None or space.type != "Box" or len(space.shape or ()) != 1:
        return 0
    count = (space.shape or [0])[0]
    return count if count <= MOST_FIELDS else 0


def _example(space: CatalogueSpace | None) -> Any:
    """An observation of the right form, to be changed."""
    if space is None:
        return [0]
    if space.type == "Discrete":
        return 0

    def zeros(shape: list[int]) -> Any:
        return [zeros(shape[1:]) for _ in range(shape[0])] if shape else 0

    shape = space.shape or [1]
    return zeros(shape) if len(shape) == 1 else []


def _observation(form: dict[str, str]) -> Any:
    """The observation that a form gives: as JSON, or number by number.

    Raises:
        ValueError: it gives none.
    """
    if "observation" in form:
        return json.loads(form["observation"])
    names = sorted(
        (name for name in form if name.startswith("o") and name[1:].isdigit()), key=lambda name: int(name[1:])
    )
    if not names:
        raise ValueError("there is none")
    return [float(form[name]) for name in names]


ROUTES = [
    Route("/policies", list_policies),
    Route("/policies/{endpoint}", show_policy),
    Route("/policies/{endpoint}/ask", ask_policy, methods=["POST"]),
    Route("/policies/{endpoint}/play", play_policy, methods=["POST"]),
    Route("/policies/{endpoint}/{command}", command, methods=["POST"]),
]

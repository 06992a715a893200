"""The routes about runs: the list, one run, commands, comparing, starting one."""

import json
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from cli.artifacts import read
from cli.errors import CliError
from cli.history import STAGES
from cli.ui.forms import form_of
from cli.ui.pages import deployment_of, page, watched_of
from cli.ui.watched import View
from contract.api import EXPERIMENT_PATTERN
from contract.control import Command
from contract.layout import VIDEOS, RunLayout
from contract.run import RunFileError, RunSpecification
from training_image.trainer.report import curves

PAGE_SIZE = 25
MOST_COMPARED = 8

EXAMPLES = Path(__file__).parents[2] / "examples"

REPORT_HEADERS = {
    # The report is a file from a bucket: it may draw itself, and do nothing else in this page's name.
    "Content-Security-Policy": "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; frame-ancestors 'none'"
}


def list_runs(request: Request) -> Response:
    """A page of the run list, the newest first."""
    after = request.query_params.get("next")
    try:
        runs, following = deployment_of(request).api.page_of_runs(PAGE_SIZE, after)
    except CliError as error:
        return page(request, "runs.html", runs=[], following=None, after=after, error=error)
    name = "runs_table.html" if request.headers.get("hx-request") else "runs.html"
    return page(request, name, runs=runs, following=following, after=after, error=None)


def show_run(request: Request) -> Response:
    """One run. Asked by the page itself, only what changes."""
    view = watched_of(request).view(request.path_params["run_id"])
    return _run_page(request, view, part=bool(request.headers.get("hx-request")))


async def command(request: Request) -> Response:
    """Give a run a command, and show what became of it."""
    form = await form_of(request)
    return await run_in_threadpool(_give, request, form)


def _give(request: Request, form: dict[str, str]) -> Response:
    run_id, wanted = request.path_params["run_id"], Command(request.path_params["command"])
    said: CliError | None = None
    try:
        deployment_of(request).api.command(run_id, wanted, form.get("reason") or None)
    except CliError as error:
        said = error
    watched = watched_of(request)
    watched.again(run_id)
    if request.headers.get("hx-request"):
        return _run_page(request, watched.view(run_id), part=True, error=said)
    return RedirectResponse(f"/runs/{run_id}", 303)


def _run_page(request: Request, view: View, *, part: bool, error: CliError | None = None) -> HTMLResponse:
    snapshot = view.snapshot
    return page(
        request,
        "run_now.html" if part else "run.html",
        view=view,
        record=view.record or {},
        snapshot=snapshot,
        verdict=snapshot.verdict if snapshot else None,
        stages=snapshot.stages if snapshot else [],
        states=STAGES,
        chart=watched_of(request).learning(view),
        poll=max(1.0, deployment_of(request).poll_seconds),
        error=error,
    )


def report(request: Request) -> Response:
    """The report of a run, in a box of its own."""
    content = read(deployment_of(request), RunLayout(run_id=request.path_params["run_id"]).report)
    if content is None:
        return page(request, "problem.html", 404, message="This run has no report: it did not come to validation.")
    return HTMLResponse(content, headers=REPORT_HEADERS)


def video(request: Request) -> Response:
    """An episode of a run, filmed at validation."""
    run_id, name = request.path_params["run_id"], request.path_params["name"]
    content = read(deployment_of(request), RunLayout(run_id=run_id).video(name)) if name in VIDEOS else None
    if content is None:
        return page(request, "problem.html", 404, message="There is no such film.")
    return Response(content, media_type="image/webp", headers={"Cache-Control": "private, max-age=86400"})


def compare(request: Request) -> Response:
    """Several runs beside each other."""
    asked = list(dict.fromkeys(request.query_params.getlist("run")))[:MOST_COMPARED]
    watched = watched_of(request)
    views = [view for view in map(watched.view, asked) if view.record is not None or view.snapshot is not None]
    lines = [{**line, "name": view.run_id} for view in views if (line := _mean_line(watched.learning(view)))]
    chart = {
        **curves.learning({}, level=None),
        "lines": lines,
        "label": "Mean return over environment steps: "
        + ", ".join(f"{line['name']} ends at {line['y'][-1]:.4g}" for line in lines),
    }
    flat = {view.run_id: _flat(view.specification) for view in views}
    keys = list(dict.fromkeys(key for settings in flat.values() for key in settings))
    different = [key for key in keys if len({settings.get(key, "-") for settings in flat.values()}) > 1]
    return page(request, "compare.html", views=views, chart=chart, flat=flat, different=different, asked=asked)


def start(request: Request) -> Response:
    """The form that starts a run."""
    examples = sorted(path.parent.name for path in EXAMPLES.glob("*/run.yaml"))
    example = request.query_params.get("example", "cartpole")
    file = EXAMPLES / example / "run.yaml"
    text = file.read_text(encoding="utf-8") if example in examples else ""
    return page(request, "start.html", examples=examples, example=example, text=text, pattern=EXPERIMENT_PATTERN)


async def submit(request: Request) -> Response:
    """Check a run file, and drop it if that is asked for and nothing is wrong."""
    form = await form_of(request)
    return await run_in_threadpool(_submit, request, form)


def _submit(request: Request, form: dict[str, str]) -> Response:
    text, experiment = form.get("run_file", ""), form.get("experiment", "")
    try:
        RunSpecification.parse(text)
    except RunFileError as refusal:
        return page(request, "start_result.html", problems=refusal.problems, error=None)
    if form.get("do") != "start":
        return page(request, "start_result.html", problems=[], error=None)
    try:
        submitted = deployment_of(request).api.submit(experiment, text)
    except CliError as error:
        return page(request, "start_result.html", problems=[], error=error)
    place = f"/runs/{submitted['run_id']}"
    if request.headers.get("hx-request"):
        return Response(headers={"HX-Redirect": place})
    return RedirectResponse(place, 303)


def _mean_line(chart: dict[str, Any]) -> dict[str, Any] | None:
    """Of a run's learning chart the mean of its seeds, or its only line."""
    for line in chart["lines"]:
        if line.get("bold"):
            return {"x": line["x"], "y": line["y"]}
    return {"x": chart["lines"][0]["x"], "y": chart["lines"][0]["y"]} if chart["lines"] else None


def _flat(document: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """The leaves of a run file by their path, as text."""
    found: dict[str, str] = {}
    for key, value in document.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            found |= _flat(value, f"{path}.")
        else:
            found[path] = json.dumps(value)
    return found


ROUTES = [
    Route("/", list_runs),
    Route("/runs/{run_id}", show_run),
    Route("/runs/{run_id}/report", report),
    Route("/runs/{run_id}/video/{name}", video),
    Route("/runs/{run_id}/{command}", command, methods=["POST"]),
    Route("/compare", compare),
    Route("/start", start),
    Route("/start", submit, methods=["POST"]),
]

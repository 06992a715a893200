"""Templates, and what they call."""

from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from cli import display
from cli.deployment import Deployment
from cli.narrate import log_text
from cli.output import duration, moment
from cli.ui.watched import Watched
from cli.watch import now
from contract.control import Command
from contract.outcomes import Outcome

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

_TONES = {Outcome.SUCCEEDED: "good", "PAUSED": "warn", "AWAITING_APPROVAL": "warn", "UNKNOWN": "soft"}
_MILD = (Outcome.REJECTED, Outcome.STOPPED, Outcome.LIMIT)


def page(request: Request, name: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page, or a part of one, from a template."""
    deployment: Deployment = request.app.state.deployment
    text = _TEMPLATES.get_template(name).render(stage=deployment.stage, path=request.url.path, now=now(), **values)
    return HTMLResponse(text, status)


def deployment_of(request: Request) -> Deployment:
    """What the page is about."""
    deployment: Deployment = request.app.state.deployment
    return deployment


def watched_of(request: Request) -> Watched:
    """The runs that are looked at."""
    watched: Watched = request.app.state.watched
    return watched


def _tone(state: str) -> str:
    """The colour of a state, beside its name."""
    if state in _TONES:
        return _TONES[state]
    if state in Outcome.__members__:
        return "warn" if state in _MILD else "bad"
    return "busy"


def _endpoint_tone(status: str) -> str:
    return {"InService": "good", "Failed": "bad", "Missing": "bad", "Off": "soft", "Deleted": "soft"}.get(
        status, "busy"
    )


def _when(value: str | datetime) -> str:
    return moment(datetime.fromisoformat(value) if isinstance(value, str) else value)


def _age(value: str) -> str:
    return display.age((now() - datetime.fromisoformat(value)).total_seconds())


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


_TEMPLATES.filters |= {
    "tone": _tone,
    "endpoint_tone": _endpoint_tone,
    "when": _when,
    "age": _age,
    "number": _number,
    "duration": duration,
    "share": display.share,
    "log_text": log_text,
    "meaning": lambda command: Command(command).meaning,
    "outcome_meaning": lambda state: Outcome(state).meaning if state in Outcome.__members__ else "",
}

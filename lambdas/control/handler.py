"""Runs, for people and programs: API Gateway's requests, and what Batch tells of the jobs of runs.

A command is a wish written into the run's record on condition that the table in `contract.control` allows it there.
What follows from a wish (jobs are terminated, a waiting state machine is woken) may be done twice and is done again by
whoever repeats the command, so a function that dies between the two loses nothing. A job that was submitted while
the wish was written tells of itself in an event, and finds the wish in the record.
"""

import logging
from typing import Any

from contract.api import ROUTES
from contract.control import Command
from lambdas.control import commands, jobs, runs
from lambdas.control.answers import Answer, ApiError, respond

_COMMAND_ROUTES = {f"/runs/{{run_id}}/{command}": command for command in Command}
_log = logging.getLogger(__name__)


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Answer one request of API Gateway (payload 1.0), or take note of one "Batch Job State Change"."""
    if event.get("detail-type") == "Batch Job State Change":
        return {"noted": jobs.note(event)}
    try:
        return respond(_answer(event))
    except ApiError as error:
        return respond(error.answer)
    except Exception:
        _log.exception("%s %s", event.get("httpMethod"), event.get("resource"))
        return respond(Answer(500, {"error": "internal", "message": "it is in the control function's log"}))


def _answer(event: dict[str, Any]) -> Answer:
    method, resource = event["httpMethod"], event["resource"]
    run_id = (event.get("pathParameters") or {}).get("run_id", "")
    query = event.get("queryStringParameters") or {}
    if (method, resource) not in {(route.method, route.path) for route in ROUTES}:
        raise ApiError(404, "unknown", f"there is no {method} {resource}")
    if command := _COMMAND_ROUTES.get(resource):
        return commands.give(run_id, command, event.get("body"), _who(event))
    if resource == "/runs/{run_id}":
        return runs.read(run_id)
    if method == "POST":
        return runs.submit(query.get("experiment", ""), event)
    return runs.list_newest(query)


def _who(event: dict[str, Any]) -> str:
    """Who asks: the name at the end of an IAM identity, or the id of an API key."""
    identity = (event.get("requestContext") or {}).get("identity") or {}
    arn = identity.get("userArn") or ""
    return arn.rpartition(":")[2] or identity.get("apiKeyId") or "somebody"

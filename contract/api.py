"""The HTTP API: one list of routes. The stack makes API Gateway's methods of it, `make reference` its document."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from contract.champion import Change
from contract.control import Command
from contract.record import MAX_REASON, Refusal, RunRecord
from contract.run import RunSpecification

MAX_LISTED = 100
"""Most runs of one answer."""

EXPERIMENT_PATTERN = r"^[a-zA-Z0-9][a-zA-Z0-9_-]{0,49}$"
RUN_ID_PATTERN = r"^[a-zA-Z0-9][a-zA-Z0-9-]{0,62}$"


class CommandBody(BaseModel):
    """What may be said with a command."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(default="", max_length=MAX_REASON, description="Why; it is kept with the run.")


class Submitted(BaseModel):
    """A run file lies in the input bucket; its run starts within seconds."""

    run_id: str
    experiment: str
    bucket: str
    key: str
    version_id: str


class RunList(BaseModel):
    """Runs, newest first."""

    runs: list[RunRecord]
    next: str | None = Field(description="Give it as `next` to go on; null at the end.")


class Policy(BaseModel):
    """An endpoint of this account and what it serves."""

    endpoint: str
    status: str = Field(description="SageMaker's: InService, Creating, Updating, Failed, ...; or Off, or Deleted.")
    updated_at: str
    run_id: str | None = Field(default=None, description="The run whose policy serves; null if the pipeline made none.")
    target: str | None = Field(default=None, description="Where it serves: `deploy.target` of its run.")
    since: str | None = Field(default=None, description="Since when this policy serves.")
    before: str | None = Field(default=None, description="The run whose policy a rollback would bring back.")
    kept: list[str] = Field(default=[], description="Runs whose policies can serve at once, oldest first.")
    mean_return: float | None = Field(default=None, description="In validation.")
    monthly_usd: float | None = Field(
        default=None, description="Estimated cost of a month as it is now, without calls."
    )
    expires_at: str | None = Field(default=None, description="When it is switched off.")
    history: list[Change] = []


class PolicyList(BaseModel):
    """The endpoints."""

    policies: list[Policy]
    monthly_usd: dict[str, float] = Field(
        default={}, description="By `deploy.target`: estimated cost of a month of an endpoint that nobody calls."
    )


class PolicyCommandBody(BaseModel):
    """What may be said with a command to an endpoint."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(default="", max_length=MAX_REASON, description="Why; it is kept with the endpoint.")
    to: str | None = Field(
        default=None,
        pattern=RUN_ID_PATTERN,
        description="Of a rollback: the run to go back to; left out, the one before.",
    )


class Problem(BaseModel):
    """Why a request was refused."""

    error: str = Field(description="`invalid`, `unknown`, `conflict` or `internal`.")
    message: str
    problems: list[str] = []


class Observation(BaseModel):
    """One observation, or several, and what the policy needs besides: docs/serving.md."""

    observation: Any = None
    observations: list[Any] | None = None
    deterministic: bool = Field(default=True, description="The best action; false draws one.")
    seed: int | None = Field(default=None, description="For a draw that can be repeated.")
    action_mask: list[bool] | None = Field(default=None, description="Which actions are valid; maskable policies.")
    action_masks: list[list[bool]] | None = None
    state: str | None = Field(default=None, description="`state` of the answer before; recurrent policies.")
    states: list[str | None] | None = None


class NoAction(BaseModel):
    """Why there is no action, in the words of whoever refused: SageMaker (`Message`) or API Gateway (`message`)."""

    Message: str | None = Field(default=None, description="SageMaker's reason.")
    OriginalMessage: str | None = Field(default=None, description="What the policy's container answered.")
    message: str | None = Field(default=None, description="API Gateway's reason.")


class Action(BaseModel):
    """The policy's answer: an action to an observation, actions to observations."""

    action: Any = None
    actions: list[Any] | None = None
    state: str | None = Field(default=None, description="For the next request of the episode; recurrent policies.")
    states: list[str] | None = None


class Route(BaseModel):
    """One method of one path."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    name: str
    method: Literal["GET", "POST"]
    path: str
    summary: str
    query: dict[str, str] = Field(default={}, description="Query parameters and what they are.")
    required: tuple[str, ...] = Field(default=(), description="Those of them that must be given.")
    body: type[BaseModel] | None = None
    body_required: bool = False
    checked: dict[str, Any] | None = Field(
        default=None, description="JSON Schema, draft 4, by which API Gateway itself refuses a JSON body."
    )
    answers: dict[int, type[BaseModel]]


_REFUSED: dict[int, type[BaseModel]] = {400: Problem, 404: Problem}

_ASKED = {"type": "object", "anyOf": [{"required": ["observation"]}, {"required": ["observations"]}]}
"""What a policy is asked, as far as API Gateway looks at it."""

ROUTES: tuple[Route, ...] = (
    Route(
        name="submitRun",
        method="POST",
        path="/runs",
        summary="Drop a run file, as JSON or as YAML, which starts a run. Twice the same file is two runs.",
        query={"experiment": "Name of the experiment."},
        required=("experiment",),
        body=RunSpecification,
        body_required=True,
        answers={202: Submitted, 400: Problem},
    ),
    Route(
        name="listRuns",
        method="GET",
        path="/runs",
        summary="The newest runs.",
        query={
            "limit": f"How many, 1 to {MAX_LISTED}; 20 if left out.",
            "next": "Where the list before ended.",
        },
        answers={200: RunList, 400: Problem},
    ),
    Route(
        name="readRun",
        method="GET",
        path="/runs/{run_id}",
        summary="One run, with its progress now and its history.",
        answers={200: RunRecord, **_REFUSED},
    ),
    *(
        Route(
            name=f"{command}Run",
            method="POST",
            path=f"/runs/{{run_id}}/{command}",
            summary=f"{command.meaning} Given again, it is no error.",
            body=CommandBody,
            checked={
                "type": "object",
                "properties": {"reason": {"type": "string", "maxLength": MAX_REASON}},
                "additionalProperties": False,
            },
            answers={202: RunRecord, **_REFUSED, 409: Refusal},
        )
        for command in Command
    ),
    Route(
        name="listPolicies",
        method="GET",
        path="/policies",
        summary="The endpoints of this account, those that are off included.",
        answers={200: PolicyList},
    ),
    Route(
        name="readPolicy",
        method="GET",
        path="/policies/{endpoint}",
        summary="One endpoint: what serves there, and its history.",
        answers={200: Policy, 404: Problem},
    ),
    *(
        Route(
            name=f"{command}Policy",
            method="POST",
            path=f"/policies/{{endpoint}}/{command}",
            summary=summary,
            body=PolicyCommandBody,
            checked={
                "type": "object",
                "properties": {
                    "reason": {"type": "string", "maxLength": MAX_REASON},
                    **({"to": {"type": "string", "pattern": RUN_ID_PATTERN}} if command == "rollback" else {}),
                },
                "additionalProperties": False,
            },
            answers={202: Policy, **_REFUSED, 409: Problem},
        )
        for command, summary in {
            "rollback": "Go back to the policy that served before, or to another one that is kept.",
            "off": "Delete the endpoint and keep all it is made of; nothing is paid for.",
            "on": "Create the endpoint anew, with the policy that served last.",
            "delete": "Delete the endpoint with its configurations and models; files and model packages stay.",
        }.items()
    ),
    Route(
        name="chooseAction",
        method="POST",
        path="/policies/{endpoint}/action",
        summary="What the policy of an endpoint does; straight from SageMaker.",
        body=Observation,
        body_required=True,
        checked=_ASKED,
        answers={200: Action, 400: NoAction, 502: NoAction},
    ),
    Route(
        name="askService",
        method="POST",
        path="/services/{endpoint}/action",
        summary="The same of an endpoint on ECS, in a stage that has some; through a function in its network.",
        body=Observation,
        body_required=True,
        checked=_ASKED,
        answers={200: Action, 400: NoAction, 404: NoAction, 502: NoAction},
    ),
)


def route(name: str) -> Route:
    """The route of this name."""
    return next(one for one in ROUTES if one.name == name)

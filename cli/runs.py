"""Runs, as Step Functions knows them: an execution is a run, and its name is the run's id."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from cli.deployment import Deployment
from cli.errors import CliError, error_code
from contract.outcomes import ExitCode, Outcome

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import ExecutionListItemTypeDef

LATEST = "latest"
_MOST_SEARCHED = 1000


@dataclass(frozen=True, kw_only=True)
class Run:
    """One execution of the pipeline."""

    run_id: str
    status: str
    """RUNNING, SUCCEEDED, FAILED, ABORTED or TIMED_OUT."""
    started: datetime
    stopped: datetime | None = None
    error: str = ""
    cause: str = ""

    @property
    def is_over(self) -> bool:
        return self.status not in ("RUNNING", "PENDING_REDRIVE")

    @property
    def outcome(self) -> Outcome | None:
        """How it ended, or None while it goes on."""
        if not self.is_over:
            return None
        if self.status == "FAILED":
            return Outcome(self.error) if self.error in Outcome.__members__ else Outcome.FAILED
        if self.status == "ABORTED":  # by a person, or by the sweeper, which says so
            return Outcome.FAILED if self.error == Outcome.FAILED else Outcome.STOPPED
        return Outcome.SUCCEEDED if self.status == "SUCCEEDED" else Outcome.FAILED


def execution_arn(deployment: Deployment, run_id: str) -> str:
    """The ARN of the execution that has a run's name."""
    return f"{deployment.state_machine_arn.replace(':stateMachine:', ':execution:')}:{run_id}"


def describe(deployment: Deployment, run_id: str) -> Run | None:
    """A run by its whole id; None when there is none."""
    from botocore.exceptions import ClientError

    try:
        found = deployment.states.describe_execution(executionArn=execution_arn(deployment, run_id))
    except ClientError as error:
        if error_code(error) in ("ExecutionDoesNotExist", "InvalidArn"):
            return None
        raise
    return Run(
        run_id=found["name"],
        status=found["status"],
        started=found["startDate"],
        stopped=found.get("stopDate"),
        error=found.get("error", ""),
        cause=found.get("cause", ""),
    )


def recent(deployment: Deployment, limit: int) -> list[Run]:
    """The newest runs, newest first. Why a run failed is not in here; `describe` says so."""
    return list(islice(_newest_first(deployment, page=min(limit, _MOST_SEARCHED)), limit))


def resolve(deployment: Deployment, reference: str) -> Run:
    """The run that a reference means: its whole id, the beginning of it, or `latest`.

    Raises:
        CliError: it means no run, or several.
    """
    if reference == LATEST:
        newest = recent(deployment, 1)
        if not newest:
            raise _unknown("there is no run yet", "`rlpipe submit PATH` starts one")
        return _described(deployment, newest[0].run_id)
    exact = describe(deployment, reference)
    if exact is not None:
        return exact
    matching = [run.run_id for run in recent(deployment, _MOST_SEARCHED) if run.run_id.startswith(reference)]
    if not matching:
        raise _unknown(f"no run is called {reference!r} or begins so", "`rlpipe runs` lists them")
    if len(matching) > 1:
        some = ", ".join(matching[:5]) + (", ..." if len(matching) > 5 else "")
        raise _unknown(f"{reference!r} may mean {len(matching)} runs: {some}", "write more of it, or `latest`")
    return _described(deployment, matching[0])


def _described(deployment: Deployment, run_id: str) -> Run:
    run = describe(deployment, run_id)
    assert run is not None, "a run that was listed can be described"
    return run


def _newest_first(deployment: Deployment, page: int) -> Iterator[Run]:
    pages = deployment.states.get_paginator("list_executions").paginate(
        stateMachineArn=deployment.state_machine_arn, PaginationConfig={"PageSize": page}
    )
    for answer in pages:
        yield from (_listed(item) for item in answer["executions"])


def _listed(item: "ExecutionListItemTypeDef") -> Run:
    fields: dict[str, Any] = {"run_id": item["name"], "status": item["status"]}
    return Run(**fields, started=item["startDate"], stopped=item.get("stopDate"))


def _unknown(message: str, next_step: str) -> CliError:
    return CliError(message, next_step=next_step, exit_code=ExitCode.USAGE)

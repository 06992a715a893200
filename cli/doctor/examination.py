"""All that the doctor looks at, in the order in which it is told."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from cli.deployment import Place
from cli.doctor import account, capacity, prices, serving
from cli.doctor.findings import Finding, Findings, Level
from cli.doctor.patient import Patient
from cli.errors import error_code, explain
from config.settings import Settings
from contract.run import RunSpecification

Check = Callable[[Patient], Findings]

EVERYWHERE: tuple[Check, ...] = (
    account.bootstrap,
    account.tools,
    account.stacks,
    serving.images,
    capacity.batch,
    account.api,
)
IN_AN_ACCOUNT: tuple[Check, ...] = (
    account.region,
    capacity.quotas,
    capacity.offers,
    capacity.spot_role,
    serving.endpoints,
    prices.prices,
)
"""What the AWS of this machine has not: it starts processes, as many as the settings say, for nothing."""

ON_THIS_MACHINE: tuple[Check, ...] = (account.disk,)

_AT_ONCE = 6


def examine(place: Place, settings: Settings, specification: RunSpecification | None) -> tuple[Patient, list[Finding]]:
    """Look at everything. Raises botocore's errors when there are no credentials or no region to look with."""
    who, where, findings = account.identify(place, settings)
    patient = Patient(place=place, settings=settings, specification=specification, account=who, region=where)
    if any(finding.level is Level.STOPS for finding in findings):
        return patient, findings  # anything else would be said of the wrong place
    checks = (*(ON_THIS_MACHINE if place.is_local else IN_AN_ACCOUNT), *EVERYWHERE)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for found in pool.map(lambda check: _guarded(check, patient), checks):
            findings += found
    return patient, findings


def _guarded(check: Check, patient: Patient) -> list[Finding]:
    """What a check found; one that may not look, or breaks, is a finding too and keeps no other from looking."""
    found: list[Finding] = []
    try:
        found.extend(check(patient))
    except Exception as error:
        denied = error_code(error).startswith(("AccessDenied", "UnauthorizedOperation"))
        operation = getattr(error, "operation_name", "")
        known = explain(error)
        found.append(
            Finding(
                check=check.__name__.replace("_", " "),
                level=Level.UNKNOWN,
                what=f"it could not be looked at: {known.message if known else f'{type(error).__name__}: {error}'}",
                why="it may stop a run, and nobody knows",
                fix=f"have this permission granted: {operation}" if denied else "try again",
            )
        )
    return found

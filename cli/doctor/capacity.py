"""Whether there can be instances for the jobs: quotas, what the region offers, and the health of Batch."""

from datetime import UTC, datetime
from typing import Any

from cli.doctor.findings import Finding, Findings, Level, good
from cli.doctor.patient import Need, Patient
from cli.errors import error_code
from cli.jobs import queues_in

# https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html
QUOTAS = {
    "g": ("G and VT", "L-DB2E81BA", "L-3819A6DF"),
    "p": ("P", "L-417A185B", "L-7212CCBC"),
    "c": ("Standard", "L-1216C47A", "L-34B43A08"),
    "m": ("Standard", "L-1216C47A", "L-34B43A08"),
}
"""By the first letter of an instance type: the group's name, its On-Demand quota and its Spot quota, in vCPUs."""

SPOT_ROLE = "AWSServiceRoleForEC2Spot"
LONG_WAIT_SECONDS = 900
"""From here on a job that waits for an instance is worth a word; starting one takes a few minutes."""


def quotas(patient: Patient) -> Findings:
    """The account's vCPU quotas against what the settings, or the run, need."""
    values: dict[str, float] = {}
    client = patient.client("service-quotas")

    def value(code: str) -> float:
        if code not in values:
            values[code] = _quota(client, code)
        return values[code]

    for need in patient.needs:
        group, on_demand_code, spot_code = QUOTAS[need.types[0][0]]
        on_demand = value(on_demand_code)
        spot = value(spot_code) if need.uses_spot else 0.0
        name = f"{group} quota"
        if need.uses_spot and spot < need.vcpus <= on_demand:
            yield _short(
                patient,
                need,
                name=name,
                market="Spot",
                code=spot_code,
                value=spot,
                level=Level.WARNING,
                why="every run would take On-Demand instances, at about three times the price",
            )
        elif on_demand < need.vcpus <= spot:
            yield _short(
                patient,
                need,
                name=name,
                market="On-Demand",
                code=on_demand_code,
                value=on_demand,
                level=Level.WARNING,
                why="when Spot has no capacity, jobs wait for it until they are cancelled",
            )
        elif max(on_demand, spot) < need.vcpus:
            yield _short(
                patient,
                need,
                name=name,
                market="On-Demand",
                code=on_demand_code,
                value=on_demand,
                level=Level.STOPS,
                why=f"no instance could start, and {need.job} jobs would wait in RUNNABLE until they are cancelled",
            )
        elif max(on_demand, spot) < need.at_once:
            market, code, most = (
                ("Spot", spot_code, spot) if spot >= on_demand else ("On-Demand", on_demand_code, on_demand)
            )
            yield _short(
                patient,
                need,
                name=name,
                market=market,
                code=code,
                value=most,
                level=Level.NOTE,
                why=f"{need.job} jobs that do not fit into it wait for those that do",
            )
        else:
            shown = f"{spot:g} vCPUs Spot and {on_demand:g} On-Demand" if need.uses_spot else f"{on_demand:g} vCPUs"
            yield good(name, f"{shown} for {need.job}, which needs {need.vcpus} an instance")


def offers(patient: Patient) -> Findings:
    """Whether the zones that instances start in offer the instance types."""
    zones = _zones(patient)
    needs = patient.needs
    wanted = sorted({type_ for need in needs for type_ in need.types})
    pages = (
        patient.client("ec2")
        .get_paginator("describe_instance_type_offerings")
        .paginate(LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": wanted}])
    )
    offered = {(o["InstanceType"], o["Location"]) for page in pages for o in page["InstanceTypeOfferings"]}
    for need in needs:
        there = {type_: [zone for zone in zones if (type_, zone) in offered] for type_ in need.types}
        nowhere = [type_ for type_, where in there.items() if not where]
        setting = f"compute.{need.pool}.instance_types in config/{patient.stage}.yaml"
        if len(nowhere) == len(need.types):
            elsewhere = sorted({zone for type_, zone in offered if type_ in need.types})
            yield Finding(
                check=f"{need.job} instances",
                level=Level.STOPS,
                what=f"none of {', '.join(need.types)} is offered in {', '.join(zones)}",
                why=f"{need.job} jobs would wait in RUNNABLE until they are cancelled",
                fix=f"take other types into {setting}"
                + (
                    f", or more zones (network.availability_zones): {', '.join(elsewhere)} have them"
                    if elsewhere
                    else ""
                ),
            )
        elif nowhere:
            yield Finding(
                check=f"{need.job} instances",
                level=Level.NOTE,
                what=f"{', '.join(nowhere)} {'is' if len(nowhere) == 1 else 'are'} not offered in {', '.join(zones)}",
                why="the fewer types, the less Spot capacity",
                fix=f"take other types into {setting}",
            )
        else:
            yield good(f"{need.job} instances", f"{', '.join(need.types)} are offered in {', '.join(zones)}")


def spot_role(patient: Patient) -> Findings:
    """The service-linked role that Spot requests need.

    https://docs.aws.amazon.com/batch/latest/userguide/spot_fleet_IAM_role.html
    """
    if not any(need.uses_spot for need in patient.needs):
        return
    try:
        patient.client("iam").get_role(RoleName=SPOT_ROLE)
    except Exception as error:
        if error_code(error) != "NoSuchEntity":
            raise
        yield Finding(
            check="Spot role",
            level=Level.WARNING,
            what=f"the role {SPOT_ROLE} is not there",
            why="the first Spot request of an account fails where nobody may create it",
            fix="aws iam create-service-linked-role --aws-service-name spot.amazonaws.com",
        )
    else:
        yield good("Spot role", "it is there")


def batch(patient: Patient) -> Findings:
    """The health of the queues and compute environments, and jobs that have waited for long."""
    if patient.definition is None:
        return
    client = patient.client("batch")
    queues, environments = _queues_and_environments(client, patient.definition)
    healthy = True
    for kind, name, found in (
        *(("queue", queue["jobQueueName"], queue) for queue in queues),
        *(("environment", it["computeEnvironmentName"], it) for it in environments),
    ):
        if found["state"] != "ENABLED" or found["status"] not in ("VALID", "UPDATING"):
            healthy = False
            option = "--job-queue" if kind == "queue" else "--compute-environment"
            command = "update-job-queue" if kind == "queue" else "update-compute-environment"
            reason = found.get("statusReason") or "no reason given"
            yield Finding(
                check="Batch",
                level=Level.STOPS,
                what=f"the {kind} {name} is {found['state']} and {found['status']}: {reason}",
                why="jobs that it is for do not start",
                fix=f"aws batch {command} {option} {name} --state ENABLED"
                if found["state"] != "ENABLED"
                else f"mend what the reason says, then: cdk deploy rlpipe-{patient.stage}-compute "
                f"-c stage={patient.stage}",
            )
    waiting = [job for queue in queues for job in _waiting(client, queue["jobQueueArn"])]
    if waiting:
        longest = max(waiting, key=lambda job: job["seconds"])
        yield Finding(
            check="Batch",
            level=Level.WARNING,
            what=f"{len(waiting)} job{'s have' if len(waiting) > 1 else ' has'} waited for an instance, the longest "
            f"for {longest['seconds'] / 60:.0f} minutes: {longest['reason'] or 'no reason given'}",
            why="a new run would wait behind them",
            fix=f"aws batch describe-jobs --jobs {longest['id']}",
        )
    elif healthy:
        yield good("Batch", f"{len(queues)} queues and {len(environments)} environments are healthy")


def _short(
    patient: Patient, need: Need, *, name: str, market: str, code: str, value: float, level: Level, why: str
) -> Finding:
    wanted = max(need.at_once, need.vcpus)
    return Finding(
        check=name,
        level=level,
        what=f"{value:g} vCPUs {market} ({code}); {need.job} needs {need.vcpus} an instance and up to {wanted}",
        why=why,
        fix=f"aws service-quotas request-service-quota-increase --service-code ec2 --quota-code {code} "
        f"--desired-value {wanted} --region {patient.region}",
    )


def _quota(client: Any, code: str) -> float:
    """The account's value, or AWS's own where it was never changed."""
    try:
        quota = client.get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]
    except Exception as error:
        if error_code(error) != "NoSuchResourceException":
            raise
        quota = client.get_aws_default_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]
    return float(quota["Value"])


def _zones(patient: Patient) -> list[str]:
    """The zones of the deployed subnets, or those that a deployment would take: the first of the region."""
    ec2 = patient.client("ec2")
    if patient.definition is not None:
        _, environments = _queues_and_environments(patient.client("batch"), patient.definition)
        subnets = sorted({subnet for it in environments for subnet in it["computeResources"]["subnets"]})
        if subnets:
            found = ec2.describe_subnets(SubnetIds=subnets)["Subnets"]
            return sorted({subnet["AvailabilityZone"] for subnet in found})
    zones = ec2.describe_availability_zones(Filters=[{"Name": "zone-type", "Values": ["availability-zone"]}])
    names = sorted(zone["ZoneName"] for zone in zones["AvailabilityZones"] if zone["State"] == "available")
    return names[: patient.settings.network.availability_zones]


def _queues_and_environments(client: Any, definition: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    queues = client.describe_job_queues(jobQueues=queues_in(definition))["jobQueues"]
    arns = sorted({entry["computeEnvironment"] for queue in queues for entry in queue["computeEnvironmentOrder"]})
    return queues, client.describe_compute_environments(computeEnvironments=arns)["computeEnvironments"]


def _waiting(client: Any, queue: str) -> list[dict[str, Any]]:
    now = datetime.now(UTC).timestamp()
    pages = client.get_paginator("list_jobs").paginate(jobQueue=queue, jobStatus="RUNNABLE")
    found = [
        {"id": job["jobId"], "seconds": now - job["createdAt"] / 1000, "reason": job.get("statusReason", "")}
        for page in pages
        for job in page["jobSummaryList"]
    ]
    return [job for job in found if job["seconds"] > LONG_WAIT_SECONDS]

"""What a run costs: the Pricing API's prices against those that limits are counted with."""

import json
from typing import Any

from cli.doctor.findings import Finding, Findings, Level, good
from cli.doctor.patient import Patient

PRICING_REGION = "us-east-1"
"""The Pricing API is in few regions, and knows the prices of all."""

_TOLERANCE = 0.02
_HOURS_A_MONTH = 730


def prices(patient: Patient) -> Findings:
    """On-Demand prices of the instance types, and what the run may cost at most."""
    try:
        found = _hourly(patient)
    except Exception as error:  # the prices of the settings do as well
        yield Finding(
            check="prices",
            level=Level.NOTE,
            what=f"the Pricing API does not say ({_brief(error)}); limits count with "
            + ", ".join(f"${_setting(patient, need.job):g} an hour for {need.job}" for need in patient.needs),
            why="they are those of us-east-1, and of the day that they were written down",
            fix="have pricing:GetProducts granted, to compare them",
        )
        found = {}
    for need in patient.needs:
        known = {type_: found[type_] for type_ in need.types if type_ in found}
        if not known:
            continue
        dearest = max(known, key=lambda type_: known[type_])
        setting = _setting(patient, need.job)
        if known[dearest] > setting * (1 + _TOLERANCE):
            yield Finding(
                check=f"{need.job} price",
                level=Level.WARNING,
                what=f"{dearest} costs ${known[dearest]:g} an hour in {patient.region}, and limits count with "
                f"${setting:g}",
                why="limits.max_cost_usd would be passed before it is noticed",
                fix=f"set jobs.{need.job}.price_per_hour: {known[dearest]:g} in config/{patient.stage}.yaml and deploy",
            )
        else:
            cheapest = min(known.values())
            yield good(f"{need.job} price", f"${cheapest:g} to ${known[dearest]:g} an hour On-Demand; Spot is less")
    yield from _of_the_run(patient)
    if patient.deploys and (hourly := found.get(patient.settings.serving.instance_type)) is not None:
        yield Finding(
            check="endpoint price",
            level=Level.NOTE,
            what=f"${hourly:g} an hour, ${hourly * _HOURS_A_MONTH:.0f} a month for each endpoint",
            why="it costs as long as it exists",
            fix="rlpipe endpoints delete ENDPOINT   # when nobody asks it any more",
        )


def _of_the_run(patient: Patient) -> Findings:
    specification = patient.specification
    if specification is None:
        return
    seeds = len(specification.seeds)
    price = _setting(patient, f"train_{specification.compute.accelerator}")
    hours, most = specification.limits.max_hours, specification.limits.max_cost_usd
    by_time = seeds * hours * price
    bound = min(by_time, seeds * most) if most is not None else by_time
    limits = f"limits.max_hours {hours:g}" + (f" and max_cost_usd {most:g}" if most is not None else "")
    yield Finding(
        check="cost",
        level=Level.NOTE,
        what=f"training costs at most ${bound:.2f}: {seeds} seed{'s' if seeds > 1 else ''} under {limits}, "
        f"at ${price:g} an hour",
    )


def _setting(patient: Patient, job: str) -> float:
    return float(getattr(patient.settings.jobs, job).price_per_hour)


def _hourly(patient: Patient) -> dict[str, float]:
    """USD an hour by instance type, On-Demand, Linux."""
    client = patient.client("pricing", region=PRICING_REGION)
    found = {}
    for type_ in sorted({type_ for need in patient.needs for type_ in need.types}):
        filters = {
            "instanceType": type_,
            "regionCode": patient.region,
            "operatingSystem": "Linux",
            "tenancy": "Shared",
            "preInstalledSw": "NA",
            "capacitystatus": "Used",
        }
        if (price := _price(client, "AmazonEC2", filters)) is not None:
            found[type_] = price
    if patient.deploys:
        type_ = patient.settings.serving.instance_type
        filters = {"instanceName": type_, "regionCode": patient.region, "component": "Hosting"}
        if (price := _price(client, "AmazonSageMaker", filters)) is not None:
            found[type_] = price
    return found


def _price(client: Any, service: str, filters: dict[str, str]) -> float | None:
    """The price of an hour.

    https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-price-list-query-api.html
    """
    conditions = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in filters.items()]
    products = client.get_products(ServiceCode=service, Filters=conditions, MaxResults=10)["PriceList"]
    amounts = [
        float(dimension["pricePerUnit"]["USD"])
        for product in products
        for offer in json.loads(product)["terms"].get("OnDemand", {}).values()
        for dimension in offer["priceDimensions"].values()
        if dimension["unit"].lower() in ("hrs", "hour", "hours") and "USD" in dimension["pricePerUnit"]
    ]
    return max((amount for amount in amounts if amount > 0), default=None)


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:160]

"""The servers behind an endpoint, and how traffic moves from one fleet of them to the next.

https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green.html
"""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from embedded_aws.hosting.serving import Server, ServingError
from embedded_aws.watching import cloudwatch

_RANG = "One or more configured alarm(s) have been triggered: [{}]. The deployment was rolled back."
_DRAIN_SECONDS = 60.0
"""The longest that a fleet without traffic is kept for requests that it has not answered yet."""


class RollbackError(Exception):
    """An update that went back; the text is the endpoint's FailureReason, or the deployment's statusReason."""


@dataclass
class Fleet:
    """The servers of one endpoint configuration, one a variant whatever its number of instances."""

    config: dict[str, Any]
    servers: dict[str, Server]
    """Of the production variants, by their names."""
    shadows: dict[str, Server] = field(default_factory=dict)
    """Of the shadow variants: they see requests, and nobody sees their answers."""
    requests: int = 0
    """How many it is answering."""

    @property
    def name(self) -> str:
        """The name of its configuration."""
        return str(self.config["EndpointConfigName"])

    def start(self, create_log_stream: Callable[[str, str], None]) -> None:
        """Start every server, side by side. Raises ServingError when one does not come up; none runs then."""
        failures: list[ServingError] = []

        def start(server: Server) -> None:
            try:
                server.start(create_log_stream)
            except ServingError as error:
                failures.append(error)

        threads = [threading.Thread(target=start, args=(server,)) for server in self._all()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            self.stop()
            raise failures[0]

    def stop(self) -> None:
        """Stop every server; returns at once."""
        for server in self._all():
            server.stop()

    def retire(self) -> None:
        """Stop every server once it has answered what it was asked; returns at once."""

        def drain() -> None:
            deadline = time.monotonic() + _DRAIN_SECONDS
            while self.requests and time.monotonic() < deadline:
                time.sleep(0.01)
            self.stop()

        threading.Thread(target=drain, name=f"drain-{self.name}", daemon=True).start()

    def choose(self, variant: str | None = None) -> tuple[str, Server] | None:
        """The production variant that answers a request, by weight or by name; None when there is none of that name."""
        if variant is not None:
            return (variant, self.servers[variant]) if variant in self.servers else None
        names = list(self.servers)
        weights = [self.variant(name).get("InitialVariantWeight", 1.0) for name in names]
        if len(names) == 1 or not any(weights):
            return names[0], self.servers[names[0]]
        name = random.choices(names, weights)[0]  # noqa: S311
        return name, self.servers[name]

    def variant(self, name: str) -> dict[str, Any]:
        """What the configuration says of a variant."""
        listed = [*self.config["ProductionVariants"], *self.config.get("ShadowProductionVariants", [])]
        found: dict[str, Any] = next(item for item in listed if item["VariantName"] == name)
        return found

    def shadowing(self) -> Iterator[tuple[str, Server]]:
        """The shadow variants that get a copy of this request: as many of the requests as their weight says.

        https://docs.aws.amazon.com/sagemaker/latest/dg/model-shadow-deployment.html
        """
        production = sum(self.variant(name).get("InitialVariantWeight", 1.0) for name in self.servers)
        for name, server in self.shadows.items():
            share = self.variant(name).get("InitialVariantWeight", 1.0) / production if production else 1.0
            if random.random() < share:  # noqa: S311
                yield name, server

    def _all(self) -> list[Server]:
        return [*self.servers.values(), *self.shadows.values()]


class Traffic:
    """Which fleet answers a request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blue: Fleet | None = None
        self._green: Fleet | None = None
        self._green_share = 0.0

    @property
    def serving(self) -> Fleet | None:
        """The fleet that serves; during an update the one of before it."""
        return self._blue

    @contextlib.contextmanager
    def lease(self) -> Iterator[Fleet | None]:
        """The fleet for one request; it is not stopped before the block is left."""
        with self._lock:
            green = self._green
            fleet = green if green and random.random() < self._green_share else self._blue  # noqa: S311
            if fleet:
                fleet.requests += 1
        try:
            yield fleet
        finally:
            if fleet:
                with self._lock:
                    fleet.requests -= 1

    def shift(self, green: Fleet | None, share: float) -> None:
        """Send this share of the requests, 0 to 1, to the green fleet."""
        with self._lock:
            self._green, self._green_share = green, share

    def settle(self, fleet: Fleet | None) -> None:
        """Send everything to one fleet."""
        with self._lock:
            self._blue, self._green = fleet, None


def replace(
    traffic: Traffic, green: Fleet, deployment: dict[str, Any], *, wait: Callable[[float], None], bake_scale: float
) -> None:
    """Move the traffic to a green fleet that is up, step by step, while the alarms are watched.

    :param deployment: the DeploymentConfig of UpdateEndpoint.
    :param wait: sleeps for so many seconds; raises when the endpoint is gone.
    :param bake_scale: what the waits of the deployment are multiplied by.
    Raises RollbackError when an alarm trips; all of it is at the blue fleet again then.
    """
    policy = deployment.get("BlueGreenUpdatePolicy") or {}
    routing = policy.get("TrafficRoutingConfiguration") or {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
    alarms = [a["AlarmName"] for a in (deployment.get("AutoRollbackConfiguration") or {}).get("Alarms", [])]
    steps = [(share, routing["WaitIntervalInSeconds"]) for share in _shares(routing, green)]
    steps.append((1.0, policy.get("TerminationWaitInSeconds", 0)))
    try:
        for share, seconds in steps:
            traffic.shift(green, share)
            bake(alarms, seconds * bake_scale, wait, said=_RANG)
    except BaseException:
        traffic.shift(None, 0.0)
        raise


def _shares(routing: dict[str, Any], green: Fleet) -> list[float]:
    """The shares of the traffic before all of it, 0 to 1."""
    if routing["Type"] == "ALL_AT_ONCE":
        return []
    size = routing["CanarySize" if routing["Type"] == "CANARY" else "LinearStepSize"]
    share = size["Value"] / (100 if size["Type"] == "CAPACITY_PERCENT" else instances(green.config))
    if routing["Type"] == "CANARY":
        return [share]
    return [step * share for step in range(1, int(1 / share) + 1) if step * share < 1]


def instances(config: dict[str, Any]) -> int:
    """The instances of all production variants of a configuration; a serverless one counts as one."""
    return sum(variant.get("InitialInstanceCount", 1) for variant in config["ProductionVariants"])


def bake(alarms: list[str], seconds: float, wait: Callable[[float], None], *, said: str) -> None:
    """Watch the alarms for so long.

    :param said: what is said of those that trip, which `{}` stands for.
    Raises RollbackError when one trips.
    """
    left = seconds
    while True:
        tripped = [name for name in alarms if cloudwatch.alarm_state(name) == "ALARM"]
        if tripped:
            raise RollbackError(said.format(", ".join(tripped)))
        if left <= 0:
            return
        step = min(left, 0.1)
        wait(step)
        left -= step


def check_deployment(deployment: dict[str, Any], config: dict[str, Any]) -> str | None:
    """Why SageMaker refuses a DeploymentConfig; None when it does not."""
    routing = (deployment.get("BlueGreenUpdatePolicy") or {}).get("TrafficRoutingConfiguration") or {}
    size = routing.get("CanarySize") or routing.get("LinearStepSize")
    if routing.get("Type") in ("CANARY", "LINEAR") and not size:
        return f"{routing['Type']} traffic routing needs the size of its step"
    if size:
        share = size["Value"] / (100 if size["Type"] == "CAPACITY_PERCENT" else instances(config))
        if share > 0.5:
            return "The size of a canary or of a linear step must be at most 50% of the new fleet's capacity"
    for alarm in (deployment.get("AutoRollbackConfiguration") or {}).get("Alarms", []):
        if cloudwatch.alarm_state(alarm["AlarmName"]) is None:
            return f"The alarm {alarm['AlarmName']} does not exist"
    return None

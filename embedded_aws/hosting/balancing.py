"""Load balancers that share out requests by weight, and count them.

ministack answers the API and passes requests on; here are the weights of target groups, which it does not know, and the
metrics of `AWS/ApplicationELB`. A load balancer answers at `/_alb/<its name>` of the instance's own address.
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
"""

import random
import threading
import time
from collections import Counter, defaultdict
from typing import Any

from embedded_aws import hooks

_MODULE = "services.alb"
_SECONDS = 0.5
"""How often metrics are published; on AWS once a minute."""
_Key = tuple[str, str, str]
"""A metric's name and unit, and the target group."""

_lock = threading.Lock()
_noted: dict[_Key, Counter[float]] = defaultdict(Counter)


def install(port: int) -> None:
    """Share requests out by weight, publish metrics, and give load balancers an address on this machine."""
    parse, show, forward = (
        hooks.private(_MODULE, name) for name in ("_parse_actions", "_action_xml", "_forward_to_tg")
    )
    act = hooks.private(_MODULE, "_execute_action")

    def parse_actions(params: Any, prefix: str = "DefaultActions") -> list[dict[str, Any]]:
        actions: list[dict[str, Any]] = parse(params, prefix)
        for number, action in enumerate(actions, start=1):
            if groups := _groups_in(params, f"{prefix}.member.{number}.ForwardConfig.TargetGroups.member"):
                action["ForwardConfig"] = {"TargetGroups": groups}
        return actions

    def action_xml(action: dict[str, Any]) -> str:
        shown = str(show(action))
        groups = "".join(
            f"<member><TargetGroupArn>{group['TargetGroupArn']}</TargetGroupArn><Weight>{group['Weight']}</Weight></member>"
            for group in weights_of(action)
        )
        if not groups:
            return shown
        config = f"<ForwardConfig><TargetGroups>{groups}</TargetGroups></ForwardConfig>"
        return shown.removesuffix("</member>") + f"{config}</member>"

    async def execute_action(action: dict[str, Any], *request: Any, **more: Any) -> Any:
        groups = weights_of(action)
        if not groups:
            return await act(action, *request, **more)
        weights = [group["Weight"] for group in groups]
        if not any(weights):
            return 503, {"Content-Type": "text/plain"}, b"no target group has a weight"
        group = random.choices(groups, weights)[0]["TargetGroupArn"]  # noqa: S311
        began = time.perf_counter()
        answer = await forward(group, *request, **more)
        _note(group, answer, time.perf_counter() - began)
        return answer

    hooks.replace(_MODULE, "_parse_actions", parse_actions)
    hooks.replace(_MODULE, "_action_xml", action_xml)
    hooks.replace(_MODULE, "_execute_action", execute_action)
    _give_addresses(port)
    threading.Thread(target=_publish_for_ever, name="load-balancers", daemon=True).start()


def weights_of(action: dict[str, Any]) -> list[dict[str, Any]]:
    """The target groups of an action that forwards, with their weights."""
    groups: list[dict[str, Any]] = (action.get("ForwardConfig") or {}).get("TargetGroups") or []
    return groups


def shift(rule: str, weights: dict[str, float]) -> None:
    """Set the weights of a rule's target groups."""
    stored = hooks.private(_MODULE, "_rules").get(rule)
    if stored is None:
        return
    groups = [{"TargetGroupArn": arn, "Weight": round(weight)} for arn, weight in weights.items()]
    stored["Actions"] = [{"Type": "forward", "Order": 1, "ForwardConfig": {"TargetGroups": groups}}]


def has_rule(rule: str) -> bool:
    """Whether there is such a rule."""
    return rule in hooks.private(_MODULE, "_rules")


def weights(rule: str) -> dict[str, float]:
    """The weights of a rule's target groups."""
    stored = hooks.private(_MODULE, "_rules").get(rule) or {"Actions": []}
    return {group["TargetGroupArn"]: group["Weight"] for action in stored["Actions"] for group in weights_of(action)}


def register(group: str, ports: list[int]) -> None:
    """Make these ports of this machine all the targets of a group."""
    targets = hooks.private(_MODULE, "_targets")
    targets[group] = [{"Id": "127.0.0.1", "Port": port} for port in ports]


def _groups_in(params: Any, prefix: str) -> list[dict[str, Any]]:
    get = hooks.private(_MODULE, "_p")
    groups, number = [], 1
    while arn := get(params, f"{prefix}.{number}.TargetGroupArn"):
        groups.append({"TargetGroupArn": arn, "Weight": int(get(params, f"{prefix}.{number}.Weight", "1"))})
        number += 1
    return groups


def _give_addresses(port: int) -> None:
    handlers = hooks.resource_handlers()["AWS::ElasticLoadBalancingV2::LoadBalancer"]
    for operation in ("create", "update"):
        provision = handlers[operation]

        def provide(*args: Any, _provision: Any = provision, **more: Any) -> tuple[str, dict[str, str]]:
            name, attributes = _provision(*args, **more)
            return name, {**attributes, "DNSName": f"127.0.0.1:{port}/_alb/{attributes['LoadBalancerName']}"}

        handlers[operation] = provide


def _note(group: str, answer: Any, seconds: float) -> None:
    status, headers = answer[0], answer[1]
    # What the target said has its headers in lower case; what the load balancer says for it has not.
    reached = "content-type" in headers
    with _lock:
        _noted["RequestCount", "Count", group][1.0] += 1
        if reached:
            _noted["TargetResponseTime", "Seconds", group][seconds] += 1
            if status >= 500:
                _noted["HTTPCode_Target_5XX_Count", "Count", group][1.0] += 1
        else:
            _noted["TargetConnectionErrorCount", "Count", group][1.0] += 1


def _publish_for_ever() -> None:
    while True:
        time.sleep(_SECONDS)
        with _lock:
            noted = dict(_noted)
            _noted.clear()
        data = []
        for (name, unit, group), seen in noted.items():
            if dimensions := _dimensions(group):
                data.append((name, unit, dimensions, dict(seen)))
        if data:
            hooks.put_metrics("AWS/ApplicationELB", data)


def _dimensions(group: str) -> dict[str, str]:
    """The load balancer that sends requests to the group, and the group."""
    for rule in list(hooks.private(_MODULE, "_rules").values()):
        if any(group == item["TargetGroupArn"] for action in rule.get("Actions", []) for item in weights_of(action)):
            balancer = rule["ListenerArn"].partition(":listener/")[2].rpartition("/")[0]
            return {"LoadBalancer": balancer, "TargetGroup": group.rpartition(":")[2]}
    return {}

"""What the roles of a stage are allowed, and what they did: the policies as they were deployed, and the calls noted."""

import fnmatch
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Call:
    """One thing that a role did, or tried to."""

    role: str
    action: str
    resource: str
    context: tuple[tuple[str, Any], ...]
    allowed: bool


@dataclass(frozen=True)
class Grant:
    """One action of one statement of a role's policies, with all of the statement's resources and conditions."""

    role: str
    action: str
    resources: tuple[str, ...]
    conditions: str

    def __str__(self) -> str:
        return f"{plain(self.role)}: {self.action} on {', '.join(self.resources)}"

    def allows(self, call: Call) -> bool:
        """Whether this alone allows the call. An evaluator of its own: it shares nothing with the one that enforced."""
        return (
            call.role == self.role
            and fnmatch.fnmatchcase(call.action.lower(), self.action.lower())
            and any(_matches(pattern, call.resource) for pattern in self.resources)
            and _holds(json.loads(self.conditions), dict(call.context))
        )


def _matches(pattern: str, resource: str) -> bool:
    parts = [".*" if part == "*" else "." if part == "?" else re.escape(part) for part in re.split(r"([*?])", pattern)]
    return re.fullmatch("".join(parts), resource, re.DOTALL) is not None


def _holds(conditions: dict[str, dict[str, Any]], context: dict[str, Any]) -> bool:
    known = {key.lower(): value for key, value in context.items()}
    for operator, keys in conditions.items():
        assert operator in ("StringEquals", "StringLike", "ArnLike", "ArnEquals"), f"{operator} is not evaluated here"
        for key, wanted in keys.items():
            value = known.get(key.lower())
            if value is None or not any(_matches(pattern, str(value)) for pattern in _listed(wanted)):
                return False
    return True


def plain(role: str) -> str:
    """A role's name without what CloudFormation puts behind the logical id."""
    return re.sub(r"[0-9A-F]{8}-?[0-9A-F]{8,13}$", "", role)


def calls(notes: Path) -> list[Call]:
    """What an instance noted."""
    found = []
    for line in notes.read_text(encoding="utf-8").splitlines():
        call = json.loads(line)
        context = tuple(sorted((key, str(value)) for key, value in call["context"].items()))
        found.append(Call(call["principal"], call["action"], call["resource"], context, call["allowed"]))
    return found


def grants(iam: Any, prefix: str) -> Iterator[Grant]:
    """Every grant of the roles whose names begin like this."""
    for page in iam.get_paginator("list_roles").paginate():
        for role in page["Roles"]:
            name = role["RoleName"]
            if not name.startswith(prefix):
                continue
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
                document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
                for statement in document["Statement"]:
                    assert statement["Effect"] == "Allow", f"{policy}: only what is allowed is weighed here"
                    for action in _listed(statement["Action"]):
                        resources = tuple(_listed(statement["Resource"]))
                        yield Grant(name, action, resources, json.dumps(statement.get("Condition", {})))


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]

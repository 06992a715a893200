"""cdk-nag at synthesis, and what checkov finds written in the templates, both read against one table."""

from collections.abc import Iterable
from dataclasses import dataclass

import aws_cdk as cdk
import jsii
from cdk_nag import AwsSolutionsChecks
from constructs import IConstruct

from stacks.governance.accepted import ACCEPTED, Accepted


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a rule of cdk-nag objects to."""

    path: str
    rule: str
    detail: str
    description: str


def findings(scope: IConstruct) -> list[Finding]:
    """What the AwsSolutions rules find below `scope`, accepted or not."""
    return [
        Finding(
            path=resource.construct_path or "",
            rule=violation.rule_name.partition("[")[0],
            detail=violation.rule_name.partition("[")[2].removesuffix("]"),
            description=violation.description,
        )
        for violation in AwsSolutionsChecks().validate_scope(scope).violations
        for resource in violation.violating_resources
    ]


def unaccepted(found: Iterable[Finding], rows: tuple[Accepted, ...] = ACCEPTED) -> list[Finding]:
    """The findings that no row accepts."""
    return [it for it in found if not any(row.covers(it.path, it.rule, it.detail) for row in rows)]


@jsii.implements(cdk.IPolicyValidationPlugin)
class AwsSolutions:
    """Stops the synthesis at a finding that the table does not accept."""

    @property
    def name(self) -> str:
        return "AwsSolutions"

    @property
    def version(self) -> str | None:
        return None

    @property
    def rule_ids(self) -> list[str] | None:
        return None

    def validate(self, context: cdk.IPolicyValidationContext) -> cdk.PolicyValidationPluginReport:
        """Called by the CDK once the templates are written."""
        objections = unaccepted(findings(context.app_construct))
        return cdk.PolicyValidationPluginReport(
            success=not objections,
            violations=[
                cdk.PolicyViolation(
                    rule_name=objection.rule,
                    description=f"{objection.description} {objection.detail}".strip(),
                    fix="Mend it, or accept it with a reason in stacks/governance/accepted.py.",
                    violating_resources=[cdk.PolicyViolatingResource(construct_path=objection.path, locations=[])],
                )
                for objection in objections
            ],
        )


def tell_checkov(scope: IConstruct, rows: tuple[Accepted, ...] = ACCEPTED) -> None:
    """Write what the table accepts into the templates, where checkov reads it."""
    told = [row for row in rows if row.rule.startswith("CKV_")]
    for construct in scope.node.find_all():
        if isinstance(construct, cdk.CfnResource):
            kind, path = construct.cfn_resource_type, construct.node.path
            skips = [
                {"id": row.rule, "comment": row.reason}
                for row in told
                if row.type == kind and row.covers(path, row.rule)
            ]
            if skips:
                construct.add_metadata("checkov", {"skip": skips})

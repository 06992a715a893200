"""Queries of CloudWatch Metrics Insights, as far as alarms over many metrics need them.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-metrics-insights-querylanguage.html
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_NAME = r'"[^"]+"|[A-Za-z_][A-Za-z0-9_]*'
_QUERY = re.compile(
    rf"SELECT\s+(?P<function>AVG|COUNT|MAX|MIN|SUM)\(\s*(?P<metric>{_NAME})\s*\)\s+"
    rf"FROM\s+(?:SCHEMA\(\s*(?P<schema>{_NAME})(?P<dimensions>(?:\s*,\s*(?:{_NAME}))*)\s*\)|(?P<namespace>{_NAME}))"
    rf"(?:\s+WHERE\s+(?P<where>.+?))?(?:\s+GROUP\s+BY\s+(?P<group>(?:{_NAME})(?:\s*,\s*(?:{_NAME}))*))?"
    r"(?:\s+ORDER\s+BY\s+(?:AVG|COUNT|MAX|MIN|SUM)\(\)(?:\s+(?:ASC|DESC))?)?(?:\s+LIMIT\s+\d+)?\s*",
    re.IGNORECASE,
)
_CONDITION = re.compile(rf"\s*(?P<name>{_NAME})\s*(?P<operator>=|!=)\s*'(?P<value>[^']*)'\s*")
_STATISTICS = {"AVG": "Average", "COUNT": "SampleCount", "MAX": "Maximum", "MIN": "Minimum", "SUM": "Sum"}

Series = dict[tuple[str, ...], list[Any]]


@dataclass(frozen=True, kw_only=True)
class Query:
    """One query.

    Attributes:
        dimensions: those that a metric must have, and no others; None where any will do.
        where: dimension, whether it must be equal, value.
    """

    statistic: str
    namespace: str
    metric: str
    dimensions: frozenset[str] | None
    where: tuple[tuple[str, bool, str], ...]
    group_by: tuple[str, ...]

    def select(self, metrics: Iterable[tuple[str, str, Mapping[str, str], list[Any]]]) -> Series:
        """Of metrics (namespace, name, dimensions, points) the points of each time series, by the values of its group.

        A dimension that a metric does not have is `Other`.
        """
        series: Series = {}
        for namespace, name, dimensions, points in metrics:
            if name == self.metric and namespace == self.namespace and self._matches(dimensions):
                group = tuple(dimensions.get(dimension, "Other") for dimension in self.group_by)
                series.setdefault(group, []).extend(points)
        return series

    def _matches(self, dimensions: Mapping[str, str]) -> bool:
        if self.dimensions is not None and self.dimensions != dimensions.keys():
            return False
        return all((dimensions.get(name) == value) == equal for name, equal, value in self.where)


def parse(expression: str) -> Query | None:
    """The query that an alarm's expression is; None for one that is no query, or uses more of the language."""
    found = _QUERY.fullmatch(expression.strip())
    if found is None:
        return None
    conditions = re.split(r"\s+AND\s+", found["where"], flags=re.IGNORECASE) if found["where"] else []
    parsed = [_CONDITION.fullmatch(condition) for condition in conditions]
    if any(condition is None for condition in parsed):
        return None
    return Query(
        statistic=_STATISTICS[found["function"].upper()],
        namespace=_plain(found["schema"] or found["namespace"]),
        metric=_plain(found["metric"]),
        dimensions=frozenset(_names(found["dimensions"])) if found["schema"] else None,
        where=tuple((_plain(it["name"]), it["operator"] == "=", it["value"]) for it in parsed if it),
        group_by=tuple(_names(found["group"])),
    )


def _names(text: str | None) -> list[str]:
    return [_plain(name) for name in re.findall(_NAME, text or "")]


def _plain(name: str) -> str:
    return name.strip('"')

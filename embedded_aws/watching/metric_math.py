"""Expressions of CloudWatch's metric math: numbers, metrics, the four operations, and FILL with a number.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
"""

import ast
import operator
from collections.abc import Mapping, Sequence
from typing import Any

_OPERATIONS: dict[type[ast.operator], Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def is_known(queries: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the queries of an alarm are metrics and one expression of this kind."""
    expressions = [query["Expression"] for query in queries if query.get("Expression")]
    if len(expressions) != 1 or not all(query.get("Expression") or query.get("MetricStat") for query in queries):
        return False
    try:
        calculate(expressions[0], {query["Id"]: 1.0 for query in queries})
    except (SyntaxError, ValueError):
        return False
    return True


def calculate(expression: str, values: Mapping[str, float | None]) -> float | None:
    """What the expression gives where its metrics have these values; None where one that it needs has none.

    Raises ValueError, or SyntaxError, for an expression of another kind.
    """
    return _calculate(ast.parse(expression, mode="eval").body, values)


def _calculate(node: ast.expr, values: Mapping[str, float | None]) -> float | None:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name) if name in values:
            return values[name]
        case ast.Call(
            func=ast.Name(id="FILL"), args=[ast.Name(id=name), ast.Constant(value=int() | float() as number)]
        ):
            found = values.get(name)
            return float(number) if found is None else found
        case ast.BinOp(left=left, op=operation, right=right) if type(operation) in _OPERATIONS:
            first, second = _calculate(left, values), _calculate(right, values)
            if first is None or second is None or (second == 0 and isinstance(operation, ast.Div)):
                return None
            return float(_OPERATIONS[type(operation)](first, second))
    raise ValueError(f"{ast.unparse(node)} is not emulated")

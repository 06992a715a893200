"""Plain values as DynamoDB's items and back."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import UniversalAttributeValueTypeDef

_serializer, _deserializer = TypeSerializer(), TypeDeserializer()


def to_item(values: dict[str, Any]) -> "dict[str, UniversalAttributeValueTypeDef]":
    """Plain values as DynamoDB takes them; what is None is left out."""
    return {name: _serializer.serialize(_exact(value)) for name, value in values.items() if value is not None}


def from_item(item: Any) -> dict[str, Any]:
    """An item as plain values; numbers are int where they are whole."""
    return {name: _plain(_deserializer.deserialize(value)) for name, value in item.items()}


def _exact(value: Any) -> Any:
    """DynamoDB's numbers are decimal; the shortest text of a float names the same float again."""
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, dict):
        return {name: _exact(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_exact(item) for item in value]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value

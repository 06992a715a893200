"""Member names on the wire (`jobName`) and in templates and state machines (`JobName`).

Keys of free-form maps (parameters, tags, log options) are data and keep their case.
"""

from typing import Any

_MAPS = frozenset({"parameters", "tags", "options", "nodeoverrides", "schedulingpolicytags"})


def lower_first(value: Any) -> Any:
    """`value` with the member names of every structure in camelCase."""
    return _rename(value, str.lower)


def upper_first(value: Any) -> Any:
    """`value` with the member names of every structure in PascalCase."""
    return _rename(value, str.upper)


def _rename(value: Any, change: Any) -> Any:
    if isinstance(value, dict):
        return {
            change(key[:1]) + key[1:]: item if key.lower() in _MAPS else _rename(item, change)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_rename(item, change) for item in value]
    return value

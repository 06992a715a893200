"""How the server says no: a 4xx answer that names the field, what was given and what is expected."""

import orjson

_LONGEST = 80


class RefusalError(Exception):
    """A request that cannot be answered, and why.

    Args:
        status: HTTP status code, 400 to 499.
        field: what is wrong, such as `observations[2][1]`, `content-type` or `body`.
        given: what the request says there.
        expected: what it may say.
        allow: with status 405, the methods that are allowed.
    """

    def __init__(self, status: int, *, field: str, given: str, expected: str, allow: str = "") -> None:
        super().__init__(f"{field}: {expected} (given: {given})")
        self.status = status
        self.field = field
        self.allow = allow
        self.body: bytes = orjson.dumps({"error": {"field": field, "given": given, "expected": expected}})


def describe(value: object) -> str:
    """A JSON value in a few words, however large it is."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."

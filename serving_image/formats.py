"""The three forms in which callers send observations and get actions: JSON, MessagePack and numpy's own `.npy`."""

import io
import math
from functools import lru_cache
from typing import Any

import numpy as np
import orjson
import ormsgpack
from numpy.typing import NDArray

from serving_image.refusals import RefusalError, describe

JSON = "application/json"
MSGPACK = "application/msgpack"
NPY = "application/x-npy"

CONTENT_TYPES = {
    JSON: JSON,
    MSGPACK: MSGPACK,
    "application/x-msgpack": MSGPACK,
    "application/vnd.msgpack": MSGPACK,
    NPY: NPY,
}
"""By the names that callers use."""

KEYS = '{"observation": ...} for one observation or {"observations": [...]} for several'


@lru_cache(256)
def of_body(content_type: bytes | None) -> str:
    """The form of a body, by its content-type; JSON where it says nothing.

    Raises:
        RefusalError: for any other.
    """
    if content_type is None:
        return JSON
    name = content_type.partition(b";")[0].strip().lower().decode("latin-1")
    if name not in CONTENT_TYPES:
        raise RefusalError(
            415,
            field="content-type",
            given=describe(content_type.decode("latin-1")),
            expected=f"{JSON}, {MSGPACK} or {NPY}",
        )
    return CONTENT_TYPES[name]


@lru_cache(256)
def of_answer(accept: bytes | None, body: str) -> str:
    """The form that a caller accepts: the best of those it names, and its own where it takes anything.

    Raises:
        RefusalError: when it is none of these.
    """
    if accept is None:
        return body
    best, form = 0.0, None
    for part in accept.decode("latin-1").lower().split(","):
        name, _, parameters = part.partition(";")
        name, quality = name.strip(), _quality(parameters)
        offered = body if name in ("*/*", "application/*") else CONTENT_TYPES.get(name)
        if offered and quality > best:
            best, form = quality, offered
    if form is None:
        given = describe(accept.decode("latin-1"))
        raise RefusalError(406, field="accept", given=given, expected=f"{JSON}, {MSGPACK} or {NPY}")
    return form


def _quality(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                return 0.0
            return quality if math.isfinite(quality) else 0.0
    return 1.0


def read_document(form: str, body: bytes) -> Any:
    """What a body in JSON or MessagePack says.

    Raises:
        RefusalError: when it is neither.
    """
    try:
        return orjson.loads(body) if form == JSON else ormsgpack.unpackb(body)
    except ValueError as error:
        name = "JSON (which has no NaN and no Infinity)" if form == JSON else "MessagePack"
        raise RefusalError(400, field="body", given=describe(str(error)), expected=f"{name}: {KEYS}") from error


def read_array(body: bytes) -> NDArray[Any]:
    """The array in a body that is an `.npy` file.

    Raises:
        RefusalError: when it is none, or holds Python objects.
    """
    start = 10 if body[6:7] == b"\x01" else 12
    length = int.from_bytes(body[8:start], "little")
    head = body[: start + length]
    try:
        shape, in_columns, dtype = _npy_head(head)
        if dtype.hasobject:
            raise ValueError("it holds Python objects")
        wanted, rest = math.prod(shape) * dtype.itemsize, len(body) - len(head)
        if wanted != rest:
            raise ValueError(f"{rest} bytes of data where {list(shape)} of {dtype} are {wanted}")
        return np.frombuffer(body, dtype, offset=len(head)).reshape(shape, order="F" if in_columns else "C")
    except Exception as error:  # numpy's reader trusts its input and raises what comes
        raise RefusalError(400, field="body", given=describe(str(error)), expected=_AN_ARRAY) from error


_AN_ARRAY = "one array, as numpy.save writes it"


@lru_cache(64)
def _npy_head(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and dtype. Callers send the same head again and again; reading it takes longer than a policy."""
    from numpy.lib import format as npy

    file = io.BytesIO(head)
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    return read(file)


def write_document(form: str, document: Any) -> bytes:
    """An answer in JSON or MessagePack; arrays may be in it."""
    # A float32 array is written as short as it reads back; a list of it would be doubles.
    if form == JSON:
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return ormsgpack.packb(document, option=ormsgpack.OPT_SERIALIZE_NUMPY)


def write_array(array: NDArray[Any]) -> bytes:
    """An answer as an `.npy` file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()

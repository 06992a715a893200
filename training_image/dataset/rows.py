"""One row at a time: raw columns become typed ones, and what does not is told why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from training_image.dataset.fields import Field, Origin

MAX_WHOLE = 2.0**53
"""Whole numbers above are not exact as floating-point numbers."""

_TRUE, _FALSE = ("true", "t", "yes", "1", "1.0"), ("false", "f", "no", "0", "0.0")


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Typed rows, each with the reason why it cannot be used, or null."""

    frame: pl.DataFrame
    reasons: pl.Series | None
    """None when every row can."""


def check(raw: pl.DataFrame, fields: Sequence[Field], origins: Mapping[str, Origin]) -> Checked:
    """Type and check rows. The frame has a column for every field that has an origin, in the order of `fields`."""
    raw = _with_elements(raw, origins)
    present = [field for field in fields if field.name in origins]
    frame = raw.select(
        _typed(field, _expression(origins[field.name]), raw.schema[_column(origins[field.name])]).alias(field.name)
        for field in present
    )
    suspects = _suspects(frame, present)
    if not suspects:
        return Checked(frame=frame, reasons=None)
    masks = [mask for field in suspects for mask in _faults(frame, raw, field, origins[field.name])]
    if not masks:
        return Checked(frame=frame, reasons=None)
    reasons = (
        pl.DataFrame({str(number): mask for number, mask in enumerate(masks)}).select(pl.coalesce(pl.all())).to_series()
    )
    return Checked(frame=frame, reasons=reasons if reasons.null_count() < len(reasons) else None)


def finite(column: pl.Expr) -> pl.Expr:
    """Whether all values are there and finite."""
    return column.is_finite().all(ignore_nulls=False)


def _column(origin: Origin) -> str:
    return origin.column if origin.element is None else f"{origin.column}\0{origin.element}"


def _expression(origin: Origin) -> pl.Expr:
    return pl.col(_column(origin))


def _with_elements(raw: pl.DataFrame, origins: Mapping[str, Origin]) -> pl.DataFrame:
    """Columns of lists, or of text that looks like lists, taken apart; of a wrong length, all elements are null."""
    lists = {origin.column: origin.length for origin in origins.values() if origin.element is not None}
    for name, length in lists.items():
        column = raw[name]
        if column.dtype == pl.String:
            apart = pl.col(name).str.replace_all(r"[\s,;\[\]()]+", " ").str.strip_chars().str.split(" ")
            column = raw.select(apart).to_series()
        while isinstance(column.dtype, pl.List | pl.Array) and isinstance(column.dtype.inner, pl.List | pl.Array):
            if isinstance(column.dtype, pl.Array):
                column = column.cast(pl.List(column.dtype.inner))
            column = _flattened(column)
        if isinstance(column.dtype, pl.Array):
            column = column.cast(pl.List(column.dtype.inner))
        if not isinstance(column.dtype, pl.List):
            raw = raw.with_columns(pl.lit(None, dtype=pl.Float64).alias(f"{name}\0{i}") for i in range(length))
            continue
        right = column.list.len() == length
        fitting = (
            column
            if right.all(ignore_nulls=False)
            else column.zip_with(
                right.fill_null(False),
                pl.Series(column.name, [None], dtype=column.dtype).new_from_index(0, len(column)),
            )
        )
        array = fitting.list.to_array(length)
        raw = raw.with_columns(array.arr.get(index).alias(f"{name}\0{index}") for index in range(length))
    return raw


def _flattened(column: pl.Series) -> pl.Series:
    """Lists of lists as plain lists, row by row."""
    frame = pl.DataFrame({"value": column, "row": np.arange(len(column))})
    flat = frame.explode("value").explode("value").group_by("row", maintain_order=True).agg("value")
    return flat["value"].alias(column.name)


def _typed(field: Field, column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """The value as the field's type, null where it is none."""
    if dtype == field.dtype and field.kind in ("number", "integer", "boolean"):
        return column
    if field.kind == "number":
        return _number(column, dtype).cast(field.dtype, strict=False)
    if field.kind == "integer":
        return _integer(column, dtype)
    if field.kind == "boolean":
        return _boolean(column, dtype)
    if field.kind == "id":
        return _integer(column, dtype) if field.dtype == pl.Int64 else column.cast(pl.String, strict=False)
    if field.kind == "time":
        return _time(column, dtype, field)
    return column.cast(pl.String, strict=False)


def _number(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.Categorical | pl.Enum):
        column, dtype = column.cast(pl.String), pl.String()
    if dtype == pl.String:
        return column.str.strip_chars().cast(pl.Float64, strict=False)
    if dtype.is_numeric() or dtype == pl.Boolean:
        return column.cast(pl.Float64, strict=False)
    return pl.lit(None, dtype=pl.Float64)


def _integer(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype.is_integer() or dtype == pl.Boolean:
        return column.cast(pl.Int64, strict=False)
    number = _number(column, dtype)
    whole = pl.when((number == number.floor()) & (number.abs() < MAX_WHOLE)).then(number.cast(pl.Int64, strict=False))
    if dtype == pl.String:
        return pl.coalesce(column.str.strip_chars().cast(pl.Int64, strict=False), whole)
    return whole


def _boolean(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.Boolean:
        return column
    if dtype == pl.String:
        text = column.str.strip_chars().str.to_lowercase()
        return pl.when(text.is_in(_TRUE)).then(True).when(text.is_in(_FALSE)).then(False)
    number = _number(column, dtype)
    return pl.when(number == 1).then(True).when(number == 0).then(False)


_TIMES = (
    *("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z", "%Y-%m-%d %H:%M%#z"),
    *("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d"),
)
"""ISO 8601. `03/04/2025` is none of them: nobody knows which month it means."""


def _time(column: pl.Expr, dtype: pl.DataType, field: Field) -> pl.Expr:
    """Numbers as they are, or microseconds in UTC."""
    if field.dtype == pl.Float64:
        return _number(column, dtype)
    if dtype == pl.Date:
        return column.cast(pl.Datetime("us"))
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is not None:
            column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return column.cast(pl.Datetime("us"))
    if dtype != pl.String:
        return pl.lit(None, dtype=pl.Datetime("us"))
    text = column.str.strip_chars()
    forms = []
    for form in _TIMES:
        parsed = text.str.to_datetime(form, strict=False, time_unit="us")
        forms.append(parsed.dt.replace_time_zone(None) if form.endswith("z") else parsed)
    return pl.coalesce(forms)


def _suspects(frame: pl.DataFrame, fields: Sequence[Field]) -> list[Field]:
    """The fields of which a value may be wrong, found without looking at each row alone."""
    questions = []
    for field in fields:
        column = pl.col(field.name)
        wrong = column.null_count() > 0 if not field.nullable else pl.lit(False)
        if field.kind == "number" or (field.kind == "time" and field.dtype == pl.Float64):
            wrong = wrong | ~column.sum().is_finite()  # it may overflow: then each row is looked at for nothing
        if field.low is not None:
            wrong = wrong | (column.min() < field.low)
        if field.high is not None:
            wrong = wrong | (column.max() > field.high)
        questions.append(wrong.alias(field.name))
    if not questions or frame.is_empty():
        return []
    answers = frame.select(questions).row(0, named=True)
    return [field for field in fields if answers[field.name]]


def _faults(frame: pl.DataFrame, raw: pl.DataFrame, field: Field, origin: Origin) -> list[pl.Series]:
    """Reasons of the rows in which a field is wrong, null elsewhere."""
    value = frame[field.name]
    given = raw[origin.column]
    what = field.root if origin.element is not None else field.name
    missing = given.is_null() if given.dtype != pl.String else given.is_null() | (given.str.strip_chars() == "")
    faults = []
    if not field.nullable:
        faults.append((missing, f"{what} is missing"))
    if origin.element is not None:
        faults.append((value.is_null() & ~missing & _all_null(frame, field), _length_reason(what, origin)))
    if not (field.nullable and origin.element is not None):
        faults.append((value.is_null() & ~missing, f"{field.name} is {_EXPECTED[field.kind]}"))
    if value.dtype.is_float():
        faults.append((~value.is_finite(), f"{field.name} is not finite"))
    if field.low is not None:
        faults.append((value < field.low, f"{field.name} is below {field.low:g}, the least that its space allows"))
    if field.high is not None:
        faults.append((value > field.high, f"{field.name} is above {field.high:g}, the most that its space allows"))
    series = []
    for mask, reason in faults:
        rows: npt.NDArray[np.bool_] = mask.fill_null(False).to_numpy()
        if rows.any():
            texts = pl.Series([reason]).new_from_index(0, len(frame))
            series.append(
                texts.zip_with(pl.Series(rows), pl.Series([None], dtype=pl.String).new_from_index(0, len(frame)))
            )
    return series


_EXPECTED = {
    "number": "not a number",
    "integer": "not a whole number",
    "boolean": "neither true nor false",
    "id": "not a whole number",
    "time": "not a time in ISO 8601",
    "text": "not text",
}


def _all_null(frame: pl.DataFrame, field: Field) -> pl.Series:
    siblings = [name for name in frame.columns if name.startswith(f"{field.root}_")]
    return frame.select(pl.all_horizontal(pl.col(name).is_null() for name in siblings)).to_series()


def _length_reason(what: str, origin: Origin) -> str:
    return f"{what} is not a list of {origin.length} numbers"

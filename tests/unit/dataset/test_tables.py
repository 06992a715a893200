"""A table: sorted by its time, each time once, the end of it held out."""

from datetime import datetime
from pathlib import Path

import polars as pl

from tests.unit.dataset.preparing import rows_of, table

COLUMNS = {"price": "number"}


def prices(hours: int = 200) -> pl.DataFrame:
    time = pl.datetime_range(datetime(2025, 1, 1), datetime(2026, 1, 1), "1h", eager=True).head(hours)
    return pl.DataFrame({"time": time, "price": pl.int_range(hours, eager=True).cast(pl.Float64) / 7})


def test_the_end_of_the_time_is_held_out(tmp_path: Path) -> None:
    prices().write_csv(tmp_path / "prices.csv")
    dataset = table(tmp_path, tmp_path / "prices.csv", columns=COLUMNS)
    train, held_out = rows_of(tmp_path, dataset.train), rows_of(tmp_path, dataset.held_out)
    assert (len(train), len(held_out)) == (160, 40)
    assert train["time"].dtype == pl.Datetime("us")
    assert train["time"].max() < held_out["time"].min()  # type: ignore[operator]
    assert pl.concat([train, held_out]).equals(prices().cast({"time": pl.Datetime("us")}))


def test_files_in_any_order_are_one_table(tmp_path: Path) -> None:
    prices()[100:].write_parquet(tmp_path / "a.parquet")
    prices()[:100].write_csv(tmp_path / "b.csv")
    dataset = table(tmp_path, tmp_path / "a.parquet", tmp_path / "b.csv", columns=COLUMNS)
    assert rows_of(tmp_path, dataset.train, dataset.held_out)["price"].to_list() == prices()["price"].to_list()
    assert dataset.repairs == {"rows whose time went backwards were sorted": 100}
    assert dataset.warnings == []


def test_one_row_a_time(tmp_path: Path) -> None:
    same, other = prices()[10:11], prices()[20:21].with_columns(price=pl.lit(99.0))
    pl.concat([prices(), same, other]).write_parquet(tmp_path / "prices.parquet")
    dataset = table(tmp_path, tmp_path / "prices.parquet", columns=COLUMNS)
    assert dataset.rejected == 1
    assert dataset.reasons[0].reason == "another row has the same time, with other values"
    assert dataset.repairs["rows that were there twice, every value the same, were kept once"] == 1
    assert rows_of(tmp_path, dataset.train, dataset.held_out)["price"].to_list() == prices()["price"].to_list()


def test_a_gap_is_worth_a_word_and_a_bad_row_its_place(tmp_path: Path) -> None:
    lines = prices().write_csv().splitlines()
    del lines[50]
    lines[101] = lines[101].rpartition(",")[0] + ",n/a"
    (tmp_path / "prices.csv").write_text("\n".join(lines))
    dataset = table(tmp_path, tmp_path / "prices.csv", columns=COLUMNS)
    (reason,) = dataset.reasons
    assert (reason.reason, reason.examples[0].row) == ("price is not a number", 101)
    assert dataset.warnings == ["2 of 197 steps of time are not the usual 1:00:00"]
    assert dataset.accepted


def test_times_with_zones_and_numbers(tmp_path: Path) -> None:
    for text, first in (("2025-03-01T00:00:00+01:00", "2025-02-28 23:00:00"), ("17", "17.0")):
        rows = "".join(f"{text if i == 0 else _later(text, i)},{i}\n" for i in range(10))
        (tmp_path / "prices.csv").write_text("time,price\n" + rows)
        dataset = table(tmp_path, tmp_path / "prices.csv", columns=COLUMNS)
        assert dataset.rejected == 0, dataset.reasons
        assert dataset.train.begins == first


def _later(text: str, hours: int) -> str:
    return text.replace("T00", f"T{hours:02d}") if "T" in text else str(int(text) + hours)


def test_dates_that_nobody_can_be_sure_of_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text("time,price\n01/02/2025,1\n02/02/2025,2\n")
    dataset = table(tmp_path, tmp_path / "prices.csv", columns=COLUMNS)
    assert not dataset.accepted
    assert dataset.reasons[0].reason == "time is not a time in ISO 8601"


def test_formats_that_a_table_never_has(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}")
    dataset = table(tmp_path, tmp_path / "a.jsonl", columns=COLUMNS)
    assert dataset.files[0].refused == "data.kind table is read from parquet, csv"
    assert not dataset.accepted

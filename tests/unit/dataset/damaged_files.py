"""Files as they really arrive. Each case says what must become of it."""

import gzip
import io
import json
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars as pl

EPISODES, STEPS = 40, 25
ROWS = EPISODES * STEPS


@dataclass(frozen=True, kw_only=True)
class Case:
    """One file. With `refused`, no row of it is used; with `reason`, as many as `rejected` are not; the others are."""

    name: str
    file: str
    make: Callable[[Path], None]
    refused: str = ""
    reason: str = ""
    rejected: int = 0
    repaired: str = ""
    rows: int = ROWS
    data: dict[str, Any] | None = None
    """Of the data section."""


def log() -> pl.DataFrame:
    """A sound log of CartPole: `EPISODES` of `STEPS` each."""
    generator = np.random.default_rng(0)
    step = np.tile(np.arange(STEPS), EPISODES)
    observations = generator.uniform(-0.2, 0.2, size=(ROWS, 4)).astype(np.float32)
    return pl.DataFrame(
        {
            "episode": np.repeat(np.arange(EPISODES), STEPS),
            "step": step,
            **{f"observation_{i}": observations[:, i] for i in range(4)},
            "action": generator.integers(0, 2, ROWS),
            "reward": np.ones(ROWS),
            "terminated": step == STEPS - 1,
            "truncated": np.zeros(ROWS, bool),
        }
    )


def parquet(frame: pl.DataFrame) -> Callable[[Path], None]:
    return lambda path: frame.write_parquet(path)


def text(content: str | bytes) -> Callable[[Path], None]:
    return lambda path: void(path.write_bytes(content.encode() if isinstance(content, str) else content))


def void(_: object) -> None:
    return None


def csv(frame: pl.DataFrame | None = None, **options: Any) -> str:
    return (log() if frame is None else frame).write_csv(**options)


def with_cell(row: int, column: str, value: str, content: str | None = None) -> str:
    """The CSV with one cell replaced; `row` counts from 1."""
    lines = (content or csv()).splitlines()
    place = lines[0].split(",").index(column)
    cells = lines[row].split(",")
    cells[place] = value
    lines[row] = ",".join(cells)
    return "\n".join(lines) + "\n"


def long_csv() -> str:
    """Of more than 64 KiB, with a column that nobody needs."""
    return csv(log().with_columns(note=pl.lit(100 * "x")))


def named_csv() -> str:
    """The same, with names of episodes, of which the last has an accent."""
    name = pl.format(
        "{}-{}", pl.when(pl.col("episode") == EPISODES - 1).then(pl.lit("à")).otherwise(pl.lit("a")), "episode"
    )
    return csv(log().with_columns(name.alias("episode"), note=pl.lit(100 * "x")))


def with_value(row: int, column: str, value: Any, dtype: Any = None) -> pl.DataFrame:
    """The log with one value replaced; `row` counts from 1."""
    frame = log() if dtype is None else log().with_columns(pl.col(column).cast(dtype))
    values = frame[column].to_list()
    values[row - 1] = value
    return frame.with_columns(pl.Series(column, values, dtype=frame[column].dtype))


def broken_parquet(damage: Callable[[bytearray], bytes]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        buffer = io.BytesIO()
        log().write_parquet(buffer)
        path.write_bytes(damage(bytearray(buffer.getvalue())))

    return make


def _overwritten(data: bytearray, at: int, value: bytes) -> bytes:
    data[at : at + len(value)] = value
    return bytes(data)


def _huge_footer(data: bytearray) -> bytes:
    return _overwritten(data, len(data) - 8, struct.pack("<I", 2**31 - 1))


def _noise(data: bytearray) -> bytes:
    noise = np.random.default_rng(1).bytes(len(data) // 2)
    return _overwritten(data, len(data) // 8, noise)


def many_rows_of_nothing(path: Path) -> None:
    """A few kilobytes that hold eight million rows: one value, repeated."""
    columns = {
        name: pl.lit(0.0) for name in ("observation_0", "observation_1", "observation_2", "observation_3", "reward")
    }
    whole = {name: pl.lit(0) for name in ("episode", "step", "action")}
    flags = {name: pl.lit(False) for name in ("terminated", "truncated")}
    frame = pl.LazyFrame({"n": [0]}).select(pl.int_range(0, 8_000_000, dtype=pl.UInt32).alias("n"))
    frame.select(**columns, **whole, **flags, n=pl.col("n") * 0).drop("n").sink_parquet(path, compression_level=19)


def packed(content: bytes) -> Callable[[Path], None]:
    return lambda path: void(path.write_bytes(gzip.compress(content)))


def zeros_packed(path: Path) -> None:
    """A gzip file of a megabyte that becomes a gigabyte."""
    with gzip.open(path, "wb") as file:
        file.write(csv().encode())
        for _ in range(1024):
            file.write(bytes(2**20))


def arrays(path: Path, **changed: Any) -> None:
    frame = log()
    whole = {
        "observations": frame.select(f"observation_{i}" for i in range(4)).to_numpy(),
        "actions": frame["action"].to_numpy(),
        "rewards": frame["reward"].to_numpy(),
        "terminals": frame["terminated"].to_numpy(),
        "timeouts": frame["truncated"].to_numpy(),
    }
    np.savez_compressed(path.with_suffix(".npz"), **{**whole, **changed})


def claims_ten_gigabytes(path: Path) -> None:
    """An array whose header says that it has 2.5 billion numbers; the rest is a handful of bytes."""
    arrays(path)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (625_000_000, 4)})
    _replace_member(path, "observations.npy", header.getvalue() + bytes(64))


def short_array(path: Path) -> None:
    arrays(path)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (ROWS,)})
    _replace_member(path, "rewards.npy", header.getvalue() + bytes(8 * 10))


def _replace_member(path: Path, name: str, content: bytes) -> None:
    with zipfile.ZipFile(path) as old:
        members = {info.filename: old.read(info) for info in old.infolist()}
    members[name] = content
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for member, data in members.items():
            new.writestr(member, data)


def minari(path: Path, damage: Callable[[Any], None] | None = None) -> None:
    frame = log()
    with h5py.File(path, "w") as file:
        for number, episode in enumerate(frame.partition_by("episode", maintain_order=True)):
            group = file.create_group(f"episode_{number}")
            observations = episode.select(f"observation_{i}" for i in range(4)).to_numpy()
            group["observations"] = np.concatenate([observations, observations[-1:]])
            group["actions"] = episode["action"].to_numpy()
            group["rewards"] = episode["reward"].to_numpy()
            group["terminations"] = episode["terminated"].to_numpy()
            group["truncations"] = episode["truncated"].to_numpy()
        if damage:
            damage(file)


def _hollow(file: Any) -> None:
    """A dataset that claims ten gigabytes and has not one chunk."""
    del file["episode_0/observations"]
    file["episode_0"].create_dataset("observations", shape=(STEPS + 1, 100_000_000), dtype="f4", chunks=(1, 1000))


def _unequal(file: Any) -> None:
    del file["episode_3/rewards"]
    file["episode_3"]["rewards"] = np.ones(STEPS - 1)


def jsonl(change: Callable[[list[str]], None] | None = None) -> str:
    lines = [json.dumps(row) for row in log().to_dicts()]
    if change:
        change(lines)
    return "\n".join(lines) + "\n"


def _replaced(row: int, line: str) -> Callable[[list[str]], None]:
    def change(lines: list[str]) -> None:
        lines[row - 1] = line

    return change


def twice(rows: slice, **changed: Any) -> pl.DataFrame:
    """The log with some rows once more at its end."""
    frame = log()
    again = frame[rows].with_columns(**changed) if changed else frame[rows]
    return pl.concat([frame, again])


def listed() -> pl.DataFrame:
    """The log with its observations in one column of lists."""
    names = [f"observation_{i}" for i in range(4)]
    return log().with_columns(pl.concat_list(names).alias("observation")).drop(names)


def _rest(row: int) -> int:
    """Rows from this one to the end of its episode: what one unusable row takes with it."""
    return STEPS - (row - 1) % STEPS


LAST = ROWS
"""The last row of the last episode: nothing follows it, so only it is lost."""

HUNDRED = _rest(100)

CASES = [
    # Whole files that are no data.
    Case(name="empty", file="a.csv", make=text(""), refused="it is empty"),
    Case(name="empty-parquet", file="a.parquet", make=text(""), refused="it is empty"),
    Case(name="only-a-newline", file="a.csv", make=text("\n"), refused="first line"),
    Case(name="only-a-header", file="a.csv", make=text(csv().splitlines()[0] + "\n"), rows=0, refused="-"),
    Case(name="no-header", file="a.csv", make=text(csv(include_header=False)), refused="first line has values"),
    Case(
        name="truncated-parquet",
        file="a.parquet",
        make=broken_parquet(lambda d: bytes(d[: len(d) // 2])),
        refused="Parquet",
    ),
    Case(
        name="parquet-without-its-end",
        file="a.parquet",
        make=broken_parquet(lambda d: bytes(d[:-1])),
        refused="Parquet",
    ),
    Case(name="parquet-of-noise", file="a.parquet", make=broken_parquet(_noise), refused="."),
    Case(
        name="parquet-whose-footer-claims-gigabytes",
        file="a.parquet",
        make=broken_parquet(_huge_footer),
        refused="Parquet",
    ),
    Case(name="text-called-parquet", file="a.parquet", make=text(csv()), refused="Parquet"),
    Case(name="parquet-called-csv", file="a.csv", make=parquet(log()), refused="no text"),
    Case(name="parquet-without-rows", file="a.parquet", make=parquet(log().head(0)), rows=0, refused="-"),
    Case(name="millions-of-rows-of-nothing", file="a.parquet", make=many_rows_of_nothing, refused="decompression bomb"),
    Case(name="gzip-bomb", file="a.csv.gz", make=zeros_packed, refused="decompression bomb"),
    Case(name="truncated-gzip", file="a.csv.gz", make=text(gzip.compress(csv().encode())[:-200]), refused="unpacked"),
    Case(
        name="html-called-csv",
        file="a.csv",
        make=text("<html><body>Access denied</body></html>\n<p>\n"),
        refused="lacks",
    ),
    Case(name="xml-error-called-parquet", file="a.parquet", make=text("<Error>NoSuchKey</Error>"), refused="Parquet"),
    Case(name="unknown-suffix", file="a.xlsx", make=text("PK"), refused="format is unknown"),
    Case(name="utf-16-without-a-mark", file="a.csv", make=text(csv().encode("utf-16-le")), refused="byte-order mark"),
    Case(name="one-endless-line", file="a.csv", make=text("episode,step," + "x" * 2**23), refused="lacks|line"),
    Case(
        name="two-columns-of-one-name",
        file="a.csv",
        make=text(csv().replace("truncated", "reward", 1)),
        refused="several of its columns",
    ),
    Case(name="lacks-reward", file="a.parquet", make=parquet(log().drop("reward")), refused="it lacks reward"),
    Case(
        name="lacks-an-observation",
        file="a.parquet",
        make=parquet(log().drop("observation_3")),
        refused="it lacks observation",
    ),
    Case(
        name="too-many-observations",
        file="a.parquet",
        make=parquet(log().with_columns(observation_4=pl.lit(0.0))),
        refused="it lacks observation",
    ),
    Case(
        name="no-ends-and-no-episodes",
        file="a.parquet",
        make=parquet(log().drop("episode", "terminated", "truncated")),
        refused="lacks",
    ),
    # Arrays.
    Case(name="npz-of-text", file="a.npz", make=text("not a zip"), refused="npz"),
    Case(
        name="npz-truncated",
        file="a.npz",
        make=lambda p: (arrays(p), void(p.write_bytes(p.read_bytes()[:-100])))[1],
        refused="npz",
    ),
    Case(
        name="npz-of-pickles",
        file="a.npz",
        make=lambda p: arrays(p, rewards=np.array([{}] * ROWS, dtype=object)),
        refused="pickle",
    ),
    Case(
        name="npz-of-unequal-lengths",
        file="a.npz",
        make=lambda p: arrays(p, rewards=np.ones(7)),
        refused="differ in length",
    ),
    Case(name="npz-that-claims-ten-gigabytes", file="a.npz", make=claims_ten_gigabytes, refused="decompression bomb"),
    Case(name="npz-that-ends-early", file="a.npz", make=short_array, refused="ends before"),
    Case(
        name="npz-with-a-nan",
        file="a.npz",
        make=lambda p: arrays(p, rewards=np.r_[np.ones(ROWS - 1), np.nan]),
        reason="reward is not finite",
        rejected=1,
    ),
    Case(name="hdf5-of-text", file="a.hdf5", make=text("not hdf5"), refused="HDF5"),
    Case(
        name="hdf5-truncated",
        file="a.hdf5",
        make=lambda p: (minari(p), void(p.write_bytes(p.read_bytes()[:5000])))[1],
        refused=".",
    ),
    Case(
        name="hdf5-that-claims-ten-gigabytes", file="a.hdf5", make=lambda p: minari(p, _hollow), refused="claims|lacks"
    ),
    Case(
        name="hdf5-of-unequal-lengths",
        file="a.hdf5",
        make=lambda p: minari(p, _unequal),
        refused="episode_3 differ in length",
    ),
    Case(name="hdf5-without-episodes", file="a.hdf5", make=lambda p: h5py.File(p, "w").close(), refused="no groups"),
    # Text that can be put right.
    Case(name="bom", file="a.csv", make=text(csv().encode("utf-8-sig")), repaired="byte-order mark of UTF-8"),
    Case(name="utf-16", file="a.csv", make=text(csv().encode("utf-16")), repaired="byte-order mark of UTF-16"),
    Case(
        name="latin-1",
        file="a.csv",
        make=text(csv(log().with_columns(note=pl.lit("über"))).encode("latin-1")),
        repaired="Windows-1252",
    ),
    # What is read as numbers is not looked through for it beforehand: the first 64 KiB of these are plain.
    Case(
        name="latin-1-at-the-end",
        file="a.csv",
        make=text(with_cell(ROWS, "note", "über", long_csv()).encode("latin-1")),
    ),
    Case(
        name="latin-1-at-the-end-of-names",
        file="a.csv",
        make=text(named_csv().encode("latin-1")),
        repaired="Windows-1252",
    ),
    Case(
        name="latin-1-in-a-number-at-the-end",
        file="a.csv",
        make=text(with_cell(ROWS, "reward", "1é", long_csv()).encode("latin-1")),
        reason="reward",
        rejected=1,
        repaired="Windows-1252",
    ),
    Case(
        name="latin-1-at-the-end-and-carriage-returns-alone",
        file="a.csv",
        make=text(named_csv().replace("\n", "\r").encode("latin-1")),
        repaired="Windows-1252",
    ),
    Case(name="crlf", file="a.csv", make=text(csv().replace("\n", "\r\n"))),
    Case(name="carriage-returns-alone", file="a.csv", make=text(csv().replace("\n", "\r")), repaired="carriage return"),
    Case(name="semicolons", file="a.csv", make=text(csv(separator=";")), repaired="';'"),
    Case(name="tabs", file="a.tsv", make=text(csv(separator="\t")), repaired="separated"),
    Case(
        name="decimal-commas", file="a.csv", make=text(csv(separator=";").replace(".", ",")), repaired="decimal comma"
    ),
    Case(name="blank-lines", file="a.csv", make=text(csv().replace("\n", "\n\n", 10))),
    Case(name="spaces-around-cells", file="a.csv", make=text(csv().replace(",", " , "))),
    Case(name="quoted-cells", file="a.csv", make=text(csv(quote_style="always"))),
    Case(name="python-booleans", file="a.csv", make=text(csv().replace("true", "True").replace("false", "False"))),
    Case(name="booleans-as-numbers", file="a.csv", make=text(csv().replace("true", "1").replace("false", "0"))),
    Case(
        name="whole-numbers-as-floats",
        file="a.csv",
        make=text(csv(log().with_columns(pl.col("action", "step").cast(pl.Float64)))),
    ),
    Case(name="no-newline-at-the-end", file="a.csv", make=text(csv().rstrip("\n"))),
    Case(name="gzip", file="a.csv.gz", make=packed(csv().encode())),
    Case(name="lists-in-a-column", file="a.parquet", make=parquet(listed())),
    Case(
        name="lists-as-text",
        file="a.csv",
        make=text(
            csv(
                listed().with_columns(
                    pl.col("observation")
                    .cast(pl.List(pl.String))
                    .list.join(" ")
                    .map_elements(lambda s: f"[{s}]", return_dtype=pl.String)
                )
            )
        ),
    ),
    Case(
        name="strings-of-numbers", file="a.parquet", make=parquet(log().with_columns(pl.col("reward").cast(pl.String)))
    ),
    Case(name="columns-in-another-order", file="a.csv", make=text(csv(log().select(reversed(log().columns))))),
    Case(
        name="columns-of-other-names",
        file="a.csv",
        make=text(csv(log().rename({"reward": "r"}))),
        data={"columns": {"reward": "r"}},
    ),
    Case(
        name="episodes-with-names",
        file="a.csv",
        make=text(csv(log().with_columns(pl.format("run-{}", "episode").alias("episode")))),
    ),
    Case(name="no-episode-numbers", file="a.parquet", make=parquet(log().drop("episode", "step"))),
    Case(name="columns-nobody-asked-for", file="a.parquet", make=parquet(log().with_columns(note=pl.lit("x")))),
    Case(name="json-lines", file="a.jsonl", make=text(jsonl())),
    Case(name="arrays", file="a.npz", make=arrays),
    Case(name="minari", file="a.hdf5", make=minari),
    # Rows that cannot be used. What follows one in its episode cannot either: a step would be missing.
    Case(
        name="nan",
        file="a.parquet",
        make=parquet(with_value(LAST, "observation_1", float("nan"))),
        reason="observation_1 is not finite",
        rejected=1,
    ),
    Case(
        name="infinite",
        file="a.parquet",
        make=parquet(with_value(LAST, "reward", float("inf"))),
        reason="reward is not finite",
        rejected=1,
    ),
    Case(
        name="null",
        file="a.parquet",
        make=parquet(with_value(LAST, "reward", None)),
        reason="reward is missing",
        rejected=1,
    ),
    Case(
        name="empty-cell",
        file="a.csv",
        make=text(with_cell(LAST, "reward", "")),
        reason="reward is missing",
        rejected=1,
    ),
    Case(
        name="not-available",
        file="a.csv",
        make=text(with_cell(LAST, "reward", "n/a")),
        reason="reward is not a number",
        rejected=1,
    ),
    Case(
        name="thousands-separator",
        file="a.csv",
        make=text(with_cell(LAST, "reward", '"1,000.0"')),
        reason="reward is not a number",
        rejected=1,
    ),
    Case(
        name="letter-in-a-number",
        file="a.csv",
        make=text(with_cell(LAST, "observation_0", "0.1O")),
        reason="observation_0 is not a number",
        rejected=1,
    ),
    Case(
        name="half-an-action",
        file="a.csv",
        make=text(with_cell(LAST, "action", "0.5")),
        reason="action is not a whole number",
        rejected=1,
    ),
    Case(
        name="action-outside",
        file="a.parquet",
        make=parquet(with_value(LAST, "action", 2)),
        reason="action is above 1",
        rejected=1,
    ),
    Case(
        name="negative-action",
        file="a.parquet",
        make=parquet(with_value(LAST, "action", -1)),
        reason="action is below 0",
        rejected=1,
    ),
    Case(
        name="observation-outside",
        file="a.parquet",
        make=parquet(with_value(LAST, "observation_0", 99.0)),
        reason="observation_0 is above 4.8",
        rejected=1,
    ),
    Case(
        name="swapped-columns",
        file="a.csv",
        make=text(csv(log().rename({"episode": "observation_0", "observation_0": "episode"}))),
        reason="observation_0 is above 4.8",
        rejected=ROWS - 10,
    ),
    Case(
        name="date-for-a-reward",
        file="a.parquet",
        make=parquet(log().with_columns(reward=pl.date(2025, 1, 1))),
        reason="reward is not a number",
        rejected=ROWS,
    ),
    Case(
        name="too-few-cells",
        file="a.csv",
        make=text(csv().rstrip("\n").rpartition(",")[0] + "\n"),
        reason="missing",
        rejected=1,
    ),
    Case(name="too-many-cells", file="a.csv", make=text(csv().rstrip("\n") + ",7\n"), reason="missing", rejected=1),
    Case(
        name="zero-bytes-in-a-line",
        file="a.csv",
        make=text(with_cell(LAST, "reward", "1\0.0")),
        reason="reward is not a number",
        rejected=1,
    ),
    Case(
        name="neither-true-nor-false",
        file="a.csv",
        make=text(with_cell(LAST, "truncated", "maybe")),
        reason="truncated is neither",
        rejected=1,
    ),
    Case(
        name="half-a-json-object",
        file="a.jsonl",
        make=text(jsonl(_replaced(LAST, '{"episode": 39, "st'))),
        reason="missing",
        rejected=1,
    ),
    Case(name="json-list", file="a.jsonl", make=text(jsonl(_replaced(LAST, "[1, 2]"))), reason="missing", rejected=1),
    Case(
        name="short-list",
        file="a.parquet",
        make=parquet(
            listed().with_columns(
                pl.when(pl.int_range(pl.len()) == ROWS - 1)
                .then(pl.col("observation").list.head(3))
                .otherwise("observation")
                .alias("observation")
            )
        ),
        reason="not a list of 4",
        rejected=1,
    ),
    Case(
        name="a-nan-within-an-episode",
        file="a.parquet",
        make=parquet(with_value(110, "reward", float("nan"))),
        reason="a step before it is missing",
        rejected=_rest(110),
    ),
    # Episodes that are not whole.
    Case(
        name="a-missing-step",
        file="a.parquet",
        make=parquet(pl.concat([log()[:104], log()[105:]])),
        rows=ROWS - 1,
        reason="a step before it is missing",
        rejected=_rest(106),
    ),
    Case(
        name="a-missing-beginning",
        file="a.parquet",
        make=parquet(log()[5:]),
        rows=ROWS - 5,
        reason="the beginning is missing",
        rejected=STEPS - 5,
    ),
    Case(
        name="rows-after-the-end",
        file="a.parquet",
        make=parquet(with_value(20, "terminated", True)),
        reason="had ended before",
        rejected=5,
    ),
    Case(
        name="no-end", file="a.parquet", make=parquet(with_value(LAST, "terminated", False)), repaired="without an end"
    ),
    Case(name="backwards", file="a.parquet", make=parquet(log().reverse()), repaired="out of order"),
    Case(
        name="shuffled",
        file="a.parquet",
        make=parquet(log().sample(fraction=1, shuffle=True, seed=0)),
        repaired="out of order",
    ),
    Case(
        name="interleaved",
        file="a.parquet",
        make=parquet(log().sort("step", maintain_order=True)),
        repaired="out of order",
    ),
    Case(
        name="the-same-rows-twice",
        file="a.parquet",
        make=parquet(twice(slice(100, 125))),
        rows=ROWS + 25,
        repaired="kept once",
    ),
    Case(
        name="the-same-keys-with-other-values",
        file="a.parquet",
        make=parquet(twice(slice(100, 125), reward=pl.lit(2.0))),
        rows=ROWS + 25,
        reason="same episode and step",
        rejected=25,
    ),
    Case(
        name="time-backwards",
        file="a.parquet",
        make=parquet(
            log().with_columns(
                time=pl.when(pl.int_range(pl.len()) == 30).then(0.0).otherwise(pl.int_range(pl.len()).cast(pl.Float64))
            )
        ),
        data={"split": "time"},
        reason="the time goes backwards",
        rejected=_rest(31),
    ),
    Case(
        name="time-that-is-no-time",
        file="a.csv",
        make=text(
            with_cell(
                LAST,
                "time",
                "03/04/2025",
                csv(
                    log().with_columns(
                        time=pl.datetime_range(pl.datetime(2025, 1, 1), pl.datetime(2026, 1, 1), "1h").head(ROWS)
                    )
                ),
            )
        ),
        data={"split": "time"},
        reason="time is not a time",
        rejected=1,
    ),
]

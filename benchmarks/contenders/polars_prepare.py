"""What `prepare_data.py` does with a log, as somebody would write it by hand with Polars' streaming engine.

python polars_prepare.py FILE OUTPUT [--rows]

With `--rows` rows are looked at alone: nothing is asked of whole episodes, and only the means are computed.
"""

import json
import sys
from pathlib import Path

import polars as pl

BOUNDS = {"observation_0": 4.8, "observation_2": 0.41887903}
OBSERVED = [f"observation_{index}" for index in range(4)]
KEY = ("episode", "step")


def main() -> None:
    """Check, reject, find duplicates, split by episode and write."""
    source, output, only_rows = sys.argv[1], Path(sys.argv[2]), "--rows" in sys.argv
    output.mkdir(parents=True, exist_ok=True)
    rows = pl.scan_csv(source) if source.endswith(".csv") else pl.scan_parquet(source)
    fits = [pl.col(name).is_finite() for name in OBSERVED] + [pl.col(n).abs() <= bound for n, bound in BOUNDS.items()]
    fits += [pl.col("action").is_in([0, 1]), pl.col("reward").is_finite()]
    if not only_rows:
        fits += [pl.col(name).is_not_null() for name in ("episode", "terminated", "truncated")] + [pl.col("step") >= 0]
    usable = pl.all_horizontal(fits).fill_null(False)
    good = rows.filter(usable)
    twice = good.group_by(KEY).len().filter(pl.col("len") > 1).select(pl.len())
    if only_rows:
        means = good.select(pl.col(OBSERVED).mean())
        *_, duplicates = pl.collect_all([*_sinks(rows.filter(~usable), good, output), means, twice], engine="streaming")
        _refuse(duplicates)
        return
    duplicates, episodes = pl.collect_all([twice, _episodes(good)], engine="streaming")
    _refuse(duplicates)
    broken = episodes.filter(
        (pl.col("first") > 1)
        | (pl.col("last") - pl.col("first") + 1 != pl.col("len"))
        | (pl.col("end") < pl.col("last"))
    )
    rejected = [rows.filter(~usable)]
    if len(broken):
        rejected.append(good.join(broken.lazy(), on="episode", how="semi"))
        good = good.join(broken.lazy(), on="episode", how="anti")
        episodes = episodes.join(broken, on="episode", how="anti")
    unended = episodes.filter(pl.col("end").is_null()).select("episode", pl.col("last").alias("step"), cut=True)
    if len(unended):
        good = good.join(unended.lazy(), on=KEY, how="left").with_columns(
            pl.col("truncated") | pl.col("cut").fill_null(False)
        )
        good = good.drop("cut")
    held_out = _held_out()
    for name, mask in (("held_out", held_out), ("train", ~held_out)):
        returns = episodes.filter(mask)["return"]
        figures = {"episodes": len(returns), "mean": returns.mean(), "min": returns.min(), "max": returns.max()}
        (output / f"{name}.json").write_text(json.dumps(figures))
    train = good.filter(~held_out)
    numbers = pl.col(*OBSERVED, "action", "reward")
    columns = train.select(
        numbers.mean().name.suffix("_mean"),
        numbers.std().name.suffix("_std"),
        numbers.min().name.suffix("_min"),
        numbers.max().name.suffix("_max"),
    )
    actions = train.group_by("action").len()
    sinks = _sinks(pl.concat(rejected), good, output)
    *_, columns_found, actions_found = pl.collect_all([*sinks, columns, actions], engine="streaming")
    columns_found.write_json(output / "columns.json")
    actions_found.write_json(output / "actions.json")


def _episodes(good: pl.LazyFrame) -> pl.LazyFrame:
    """What each episode is like."""
    step, ended = pl.col("step"), pl.col("terminated") | pl.col("truncated")
    return good.group_by("episode").agg(
        step.min().alias("first"),
        step.max().alias("last"),
        pl.len(),
        pl.when(ended).then(step).min().alias("end"),
        pl.col("reward").sum().alias("return"),
    )


def _held_out() -> pl.Expr:
    return pl.col("episode").hash(0) % 5 == 0


def _sinks(rejected: pl.LazyFrame, good: pl.LazyFrame, output: Path) -> list[pl.LazyFrame]:
    return [
        rejected.sink_parquet(output / "rejected.parquet", lazy=True),
        good.filter(_held_out()).sink_parquet(output / "held_out.parquet", lazy=True),
        good.filter(~_held_out()).sink_parquet(output / "train.parquet", lazy=True),
    ]


def _refuse(duplicates: pl.DataFrame) -> None:
    if duplicates.item():
        sys.exit(f"{duplicates.item()} keys occur twice")


if __name__ == "__main__":
    main()

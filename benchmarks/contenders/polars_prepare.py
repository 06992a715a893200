"""What `prepare_data.py` does with a log, as somebody would write it by hand with Polars' streaming engine.

python polars_prepare.py FILE OUTPUT
"""

import sys
from pathlib import Path

import polars as pl

BOUNDS = {"observation_0": 4.8, "observation_2": 0.41887903}


def main() -> None:
    """Check, reject, find duplicates, split by episode and write."""
    source, output = sys.argv[1], Path(sys.argv[2])
    output.mkdir(parents=True, exist_ok=True)
    rows = pl.scan_csv(source) if source.endswith(".csv") else pl.scan_parquet(source)
    observed = [f"observation_{index}" for index in range(4)]
    fits = [pl.col(name).is_finite() for name in observed] + [pl.col(n).abs() <= bound for n, bound in BOUNDS.items()]
    usable = pl.all_horizontal(*fits, pl.col("action").is_in([0, 1]), pl.col("reward").is_finite()).fill_null(False)
    good = rows.filter(usable)
    twice = good.group_by("episode", "step").len().filter(pl.col("len") > 1).select(pl.len())
    held_out = pl.col("episode").hash(0) % 5 == 0
    frames = [
        rows.filter(~usable).sink_parquet(output / "rejected.parquet", lazy=True),
        good.filter(held_out).sink_parquet(output / "held_out.parquet", lazy=True),
        good.filter(~held_out).sink_parquet(output / "train.parquet", lazy=True),
        good.select([pl.col(name).mean().alias(f"{name}_mean") for name in observed]),
        twice,
    ]
    *_, duplicates = pl.collect_all(frames, engine="streaming")
    if duplicates.item():
        sys.exit(f"{duplicates.item()} keys occur twice")


if __name__ == "__main__":
    main()

"""What `prepare_data.py` does with a log, as most would write it first: with pandas, all of it in memory.

python pandas_prepare.py FILE OUTPUT [--rows]

With `--rows` rows are looked at alone: nothing is asked of whole episodes, and only the means are computed.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

BOUNDS = {"observation_0": 4.8, "observation_2": 0.41887903}
OBSERVED = [f"observation_{index}" for index in range(4)]
KEY = ["episode", "step"]


def main() -> None:
    """Check, reject, find duplicates, split by episode and write."""
    source, output, only_rows = sys.argv[1], Path(sys.argv[2]), "--rows" in sys.argv
    output.mkdir(parents=True, exist_ok=True)
    rows = pd.read_csv(source) if source.endswith(".csv") else pd.read_parquet(source)
    usable = np.isfinite(rows[OBSERVED]).all(axis=1) & rows["action"].isin([0, 1]) & np.isfinite(rows["reward"])
    for name, bound in BOUNDS.items():
        usable &= rows[name].abs() <= bound
    if not only_rows:
        usable &= rows[[*KEY, "terminated", "truncated"]].notna().all(axis=1) & (rows["step"] >= 0)
    if duplicates := int(rows[usable].duplicated(KEY).sum()):
        sys.exit(f"{duplicates} keys occur twice")
    if not only_rows:
        usable = _whole(rows, usable)
    rows[~usable].to_parquet(output / "rejected.parquet")
    good = rows[usable]
    held_out = pd.util.hash_array(good["episode"].to_numpy()) % 5 == 0
    for name, part in (("held_out", good[held_out]), ("train", good[~held_out])):
        part.to_parquet(output / f"{name}.parquet")
        if not only_rows:
            returns = part.groupby("episode", sort=False)["reward"].sum()
            figures = {"episodes": len(returns), **returns.agg(["mean", "min", "max"])}
            (output / f"{name}.json").write_text(json.dumps(figures))
    if only_rows:
        good[OBSERVED].mean()
    else:
        part[[*OBSERVED, "action", "reward"]].agg(["mean", "std", "min", "max"]).to_json(output / "columns.json")
        part["action"].value_counts().to_json(output / "actions.json")


def _whole(rows: pd.DataFrame, usable: pd.Series) -> pd.Series:
    """Which rows are usable and of an unbroken beginning of their episode; what has no end is truncated there."""
    good = rows[usable]
    if not good["episode"].is_monotonic_increasing:
        good = good.sort_values(KEY)
    ended = good["terminated"] | good["truncated"]
    advance = good.groupby("episode", sort=False)["step"].diff()
    after = ended.groupby(good["episode"], sort=False).shift(fill_value=False)
    broken = after | (advance.notna() & (advance != 1)) | (advance.isna() & (good["step"] > 1))
    if broken.any():
        broken = broken.groupby(good["episode"], sort=False).cummax()
        good, ended = good[~broken], ended[~broken]
        usable = usable & rows.index.isin(good.index)
    open_ends = good.index[~good.duplicated("episode", keep="last") & ~ended]
    rows.loc[open_ends, "truncated"] = True
    return usable


if __name__ == "__main__":
    main()

"""What `prepare_data.py` does with a log, as most would write it first: with pandas, all of it in memory.

python pandas_prepare.py FILE OUTPUT
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

BOUNDS = {"observation_0": 4.8, "observation_2": 0.41887903}


def main() -> None:
    """Check, reject, find duplicates, split by episode and write."""
    source, output = sys.argv[1], Path(sys.argv[2])
    output.mkdir(parents=True, exist_ok=True)
    rows = pd.read_csv(source) if source.endswith(".csv") else pd.read_parquet(source)
    observed = [f"observation_{index}" for index in range(4)]
    usable = np.isfinite(rows[observed]).all(axis=1) & rows["action"].isin([0, 1]) & np.isfinite(rows["reward"])
    for name, bound in BOUNDS.items():
        usable &= rows[name].abs() <= bound
    rows[~usable].to_parquet(output / "rejected.parquet")
    good = rows[usable]
    held_out = pd.util.hash_array(good["episode"].to_numpy()) % 5 == 0
    good[held_out].to_parquet(output / "held_out.parquet")
    good[~held_out].to_parquet(output / "train.parquet")
    good[observed].mean()
    duplicates = int(good.duplicated(["episode", "step"]).sum())
    if duplicates:
        sys.exit(f"{duplicates} keys occur twice")


if __name__ == "__main__":
    main()

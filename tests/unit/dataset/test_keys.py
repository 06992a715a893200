"""The order of rows by episode and step."""

import numpy as np
import polars as pl
import pytest

from training_image.dataset.keys import in_order

SMALL, HASHED, LATE = 0, 2**64 - 1, 2**62
"""The greatest key beside 50 small ones, and the greatest step."""


@pytest.mark.parametrize("steps", [1, 30, LATE])
@pytest.mark.parametrize("greatest", [SMALL, HASHED])
@pytest.mark.parametrize("twice", [False, True])
def test_rows_are_ordered_by_key_and_step_and_equals_stay_as_they_came(greatest: int, steps: int, twice: bool) -> None:
    generator = np.random.default_rng(0)
    keys = generator.integers(0, 50, 2000).astype(np.uint64)
    keys[::7] = greatest
    rows = pl.DataFrame({"key": keys, "step": generator.integers(0, steps, 2000)}).with_row_index("row")
    if not twice:
        rows = rows.unique(["key", "step"], keep="first", maintain_order=True).drop("row").with_row_index("row")
    expected = rows.sort("key", "step", maintain_order=True)["row"]
    assert in_order(rows["key"], rows["step"]).tolist() == expected.to_list()

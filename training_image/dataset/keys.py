"""Numbers for episodes: one that their rows share, and one that decides which episodes are held out.

Both follow from the episode's name alone, so the same episode is held out again when an experiment gets more data.
"""

import hashlib

import numpy as np
import numpy.typing as npt
import polars as pl


def episode_keys(episodes: pl.Series) -> pl.Series:
    """The key of each row: episodes that are whole numbers are their own."""
    if episodes.dtype == pl.Int64:
        return episodes.reinterpret(signed=False)
    names = episodes.unique()
    hashes = [int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") for name in names]
    return episodes.replace_strict(names, pl.Series(hashes, dtype=pl.UInt64), return_dtype=pl.UInt64)


def scattered(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Keys spread evenly over all 64 bits (SplitMix64; Steele et al., 2014, doi:10.1145/2660193.2660195)."""
    with np.errstate(over="ignore"):
        mixed = keys + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))


def in_order(keys: pl.Series, steps: pl.Series) -> npt.NDArray[np.uint32]:
    """Where the rows are that come first, second, ... by key and step; of the same key and step, the first to come."""
    most = int(steps.max()) + 1  # type: ignore[arg-type]
    low, high = int(keys.min()), int(keys.max())  # type: ignore[arg-type]
    if (high - low + 1) * most < 2**63:
        numbers = keys.to_numpy() - np.uint64(low)
    else:
        numbers = np.unique(keys.to_numpy(), return_inverse=True)[1].astype(np.uint64)
    if (int(numbers.max()) + 1) * most >= 2**63:
        return np.lexsort((steps.to_numpy(), numbers)).astype(np.uint32)
    packed = numbers * np.uint64(most) + steps.to_numpy().astype(np.uint64)
    order = np.argsort(packed)  # some ten times faster than one that keeps the order of equals
    ordered = packed[order]
    if (ordered[1:] == ordered[:-1]).any():
        order = np.argsort(packed, kind="stable")
    return order.astype(np.uint32)


def after(keys: npt.NDArray[np.uint64], later: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint64]:
    """Other keys for the rows that come later than the time at which the held-out part begins."""
    return np.where(later, scattered(keys ^ np.uint64(0xD1B54A32D192ED03)), keys)


def file_base(name: str) -> int:
    """Where the numbers of a file's own episodes begin, when every file counts anew."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "little") >> 1 << 32

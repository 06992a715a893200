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


def after(keys: npt.NDArray[np.uint64], later: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint64]:
    """Other keys for the rows that come later than the time at which the held-out part begins."""
    return np.where(later, scattered(keys ^ np.uint64(0xD1B54A32D192ED03)), keys)


def file_base(name: str) -> int:
    """Where the numbers of a file's own episodes begin, when every file counts anew."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "little") >> 1 << 32

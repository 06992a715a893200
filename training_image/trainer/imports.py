"""Importing torch and what stands on it: half of the seconds that a small training takes."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collection() -> Iterator[None]:
    """No search for garbage while modules are imported: there is none, and it takes a quarter of the time.

    What was imported stays for good, so later searches pass it over too.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()

"""`python -m benchmarks [part ...]`: everything, or some parts."""

import argparse
import sys
from collections.abc import Callable

from benchmarks import (
    api,
    buffer,
    data,
    drop,
    emission,
    fast,
    features,
    fuzz,
    kills,
    pauses,
    process,
    quality,
    quantiles,
    serving,
    solving,
    verdict,
)
from benchmarks.results import FOLDER

PARTS: dict[str, Callable[[], str]] = {
    "data": data.main,
    "drop": drop.main,
    "process": process.main,
    "quality": quality.main,
    "solving": solving.main,
    "fast": fast.main,
    "quantiles": quantiles.main,
    "features": features.main,
    "emission": emission.main,
    "buffer": buffer.main,
    "kills": kills.main,
    "pauses": pauses.main,
    "api": api.main,
    "verdict": verdict.main,
    "serving": serving.main,
    "fuzz": fuzz.main,
}


def main() -> None:
    """Measure, write results/, print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure what training, judging and serving cost."
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all when left out")
    chosen = parser.parse_args().parts or list(PARTS)
    if unknown := [part for part in chosen if part not in PARTS]:
        parser.error(f"{', '.join(unknown)}: there is {', '.join(PARTS)}")
    for part in chosen:
        table = PARTS[part]()
        (FOLDER / f"{part}.md").write_text(table + "\n", encoding="utf-8")
        sys.stdout.write(f"\n## {part}\n\n{table}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

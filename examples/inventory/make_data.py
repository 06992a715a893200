"""Make data/demand.csv: four years of daily demand that never was. The same every time.

python examples/inventory/make_data.py
"""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

DAYS = 4 * 365
BEGIN = datetime(2022, 1, 3)


def demand() -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Much before weekends, more in summer and before Christmas, a slow trend, and chance."""
    generator = np.random.default_rng(2022)
    day = np.arange(DAYS)
    of_week = np.array([0.8, 0.78, 0.85, 0.95, 1.35, 1.5, 0.77])[day % 7]
    of_year = 1 + 0.18 * np.sin(2 * np.pi * (day - 100) / 365.25) + 0.35 * np.exp(-(((day % 365.25) - 350) ** 2) / 200)
    mood = np.zeros(DAYS)  # what sold well yesterday sells well today
    for now in range(1, DAYS):
        mood[now] = 0.85 * mood[now - 1] + generator.normal(0, 0.05)
    mean = 75 * of_week * of_year * (1 + day / DAYS / 10) * np.exp(mood)
    return generator.poisson(mean)


def main() -> None:
    """Write the file."""
    target = Path(__file__).with_name("data") / "demand.csv"
    target.parent.mkdir(exist_ok=True)
    times = (BEGIN + timedelta(days=number) for number in range(DAYS))
    rows = (f"{time:%Y-%m-%d},{units}\n" for time, units in zip(times, demand(), strict=True))
    target.write_text("time,demand\n" + "".join(rows), encoding="utf-8")


if __name__ == "__main__":
    main()

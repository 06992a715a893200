"""Make data/prices.csv: a year of hourly power prices that never were. The same every time.

python examples/battery/make_data.py
"""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

HOURS = 365 * 24
BEGIN = datetime(2025, 1, 1)


def prices() -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Cheap nights, two peaks a day, cheap weekends, dear winters, and weather that lasts for days."""
    generator = np.random.default_rng(2025)
    hour = np.arange(HOURS)
    day, of_day = hour // 24, hour % 24
    season = 12 * np.cos(2 * np.pi * day / 365)
    weekend = np.where(day % 7 >= 5, -14.0, 0.0)
    size = generator.lognormal(0, 0.25, size=365)[day]  # how much a day's prices go up and down
    morning, evening = np.exp(-((of_day - 8) ** 2) / 5), np.exp(-((of_day - 19) ** 2) / 7)
    noon = np.exp(-((of_day - 13) ** 2) / 8) * (1 - np.cos(2 * np.pi * day / 365)) / 2  # the sun, in summer
    shape = 26 * morning + 42 * evening - 22 * noon - 14 * np.exp(-((of_day - 3) ** 2) / 10)
    weather, wind = np.zeros(HOURS), generator.normal(0, 3.2, HOURS)
    for now in range(1, HOURS):
        weather[now] = 0.97 * weather[now - 1] + wind[now]
    spikes = np.where(generator.random(HOURS) < 0.002, generator.exponential(90, HOURS), 0.0)
    return np.round(72 + season + weekend + size * shape + weather + spikes + generator.normal(0, 2, HOURS), 2)


def main() -> None:
    """Write the file."""
    target = Path(__file__).with_name("data") / "prices.csv"
    target.parent.mkdir(exist_ok=True)
    times = (BEGIN + timedelta(hours=number) for number in range(HOURS))
    rows = (f"{time:%Y-%m-%dT%H:%M},{price:.2f}\n" for time, price in zip(times, prices(), strict=True))
    target.write_text("time,price\n" + "".join(rows), encoding="utf-8")


if __name__ == "__main__":
    main()

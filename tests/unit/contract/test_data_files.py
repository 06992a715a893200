"""Which files a run learns from."""

import pytest

from contract.run import DataSection, data_files

NAMES = [
    "run.yaml",
    "data/b.csv",
    "data/a.csv",
    "data/a.parquet",
    "data/2025/01.csv",
    "data/_SUCCESS",
    "data/.DS_Store",
    "data/_delta_log/0.json",
    "database/x.csv",
]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("data/**", ["data/2025/01.csv", "data/a.csv", "data/a.parquet", "data/b.csv"]),
        ("data/*", ["data/a.csv", "data/a.parquet", "data/b.csv"]),
        ("data/*.csv", ["data/a.csv", "data/b.csv"]),
        ("data/**/*.csv", ["data/2025/01.csv"]),
        ("data/**.csv", ["data/2025/01.csv", "data/a.csv", "data/b.csv"]),
        ("data/a.csv", ["data/a.csv"]),
        ("data/[a]*", []),
    ],
)
def test_patterns(pattern: str, found: list[str]) -> None:
    assert data_files(DataSection(kind="transitions", files=pattern), NAMES) == found


def test_the_marker_is_no_data() -> None:
    assert data_files(DataSection(kind="transitions", marker="a.csv", files="data/*.csv"), NAMES) == ["data/b.csv"]

"""Names that AWS accepts, and the same run for the same object."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.layout import MAX_NAME, RunLayout, experiment_of, run_id_of
from contract.run import ENDPOINT_PATTERN


@pytest.mark.parametrize(
    ("key", "experiment"),
    [
        ("cartpole/run.yaml", "cartpole"),
        ("team/cart pole/run.yaml", "team-cart-pole"),
        ("run.yaml", "default"),
        ("Ünïcode/run.yaml", "n-code"),
        ("///run.yaml", "default"),
    ],
)
def test_the_experiment_is_the_folder(key: str, experiment: str) -> None:
    assert experiment_of(key) == experiment


@given(bucket=st.text(max_size=63), key=st.text(max_size=1024), version=st.text(max_size=64))
def test_a_run_id_is_a_name_that_every_service_accepts(bucket: str, key: str, version: str) -> None:
    run_id = run_id_of(bucket, key, version)
    assert len(run_id) <= MAX_NAME
    assert re.fullmatch(ENDPOINT_PATTERN, run_id)


def test_the_same_version_is_the_same_run_and_another_version_another() -> None:
    assert run_id_of("b", "x/run.yaml", "v1") == run_id_of("b", "x/run.yaml", "v1")
    assert run_id_of("b", "x/run.yaml", "v1") != run_id_of("b", "x/run.yaml", "v2")
    assert run_id_of("b", "x/run.yaml", "v1") != run_id_of("c", "x/run.yaml", "v1")


def test_everything_of_a_run_lies_under_its_prefix() -> None:
    layout = RunLayout(run_id="cartpole-0123456789ab")
    keys = [layout.specification, layout.outcome, layout.verdict, layout.report, layout.golden, layout.model_archive]
    assert all(key.startswith("runs/cartpole-0123456789ab/") for key in [*keys, layout.seed(3)])
    assert len(set(keys)) == len(keys)

"""Settings that no shipped stage uses."""

from pathlib import Path

import pytest

from config.settings import AlertsSettings, NetworkSettings, load_settings
from tests.infra.conftest import Stage, synthesise


@pytest.fixture(scope="module")
def switched(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    settings = load_settings("dev").model_copy(
        update={
            "account": "123456789012",
            "region": "eu-west-1",
            "network": NetworkSettings(availability_zones=3),
            "alerts": AlertsSettings(email="somebody@example.org"),
        }
    )
    return synthesise(settings, tmp_path_factory.mktemp("switched"))


def test_somebody_is_told_by_mail(switched: Stage) -> None:
    subscription = switched.one("AWS::SNS::Subscription")
    assert subscription["Protocol"] == "email"
    assert subscription["Endpoint"] == "somebody@example.org"


def test_nobody_is_told_by_mail_unless_named(stage: Stage) -> None:
    assert stage.resources("AWS::SNS::Subscription") == {}


def test_an_account_and_region_need_no_look_up(switched: Stage) -> None:
    manifest = Path(switched.folder / "manifest.json").read_text()
    assert "aws://123456789012/eu-west-1" in manifest
    assert '"missing"' not in manifest


def test_instances_are_spread_over_the_zones_asked_for(switched: Stage) -> None:
    for environment in switched.resources("AWS::Batch::ComputeEnvironment").values():
        assert len(environment["ComputeResources"]["Subnets"]) == 3

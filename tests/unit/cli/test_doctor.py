"""What would stop a run, found before it starts, in an account whose calls are checked against AWS's API models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import NoCredentialsError, NoRegionError

from cli import deployment
from cli.api import Api
from cli.doctor import account as doctors_account
from cli.doctor import capacity
from tests.unit.cli.conftest import Said
from tests.unit.cli.stubbed_account import ACCOUNT, REGION, StubbedAccount

Rlpipe = Callable[..., Said]
ONE_GPU = "environment: {id: CartPole-v1}\ncompute: {accelerator: gpu}\n"


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StubbedAccount:
    """An account in which nothing would stop a run."""
    stubbed = StubbedAccount()
    monkeypatch.setattr(deployment, "_client", lambda _session, service, *_: stubbed.client(service))
    monkeypatch.setattr(Api, "request", lambda _self, *args, **more: stubbed.request(*args, **more))
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("RLPIPE_STATE_DIR", str(tmp_path))
    return stubbed


@pytest.fixture
def finding(rlpipe: Rlpipe) -> Callable[..., dict[str, Any]]:
    """The one finding that is not OK of a check, and whether it stops a run."""

    def find(check: str, *arguments: str, level: str = "stops") -> dict[str, Any]:
        said = rlpipe("doctor", "--stage", "dev", "--json", *arguments)
        assert said.exit_code == (1 if level == "stops" else 0)
        assert said.document["stops_a_run"] is (level == "stops")
        (found,) = [it for it in said.document["findings"] if it["check"] == check and it["level"] == level]
        assert all(found[part] for part in ("what", "why", "fix")), "every finding says what, why and how to mend it"
        return dict(found)

    return find


def test_a_healthy_account_stops_no_run(account: StubbedAccount, rlpipe: Rlpipe) -> None:
    said = rlpipe("doctor", "--stage", "dev", "--json")
    assert said.exit_code == 0, said.stdout
    document = said.document
    assert (document["stage"], document["account"], document["region"]) == ("dev", ACCOUNT, REGION)
    looked_at = {finding["check"] for finding in document["findings"]}
    assert looked_at >= {
        *("credentials", "region", "bootstrap", "deployment", "Standard quota", "G and VT quota", "Spot role"),
        *(
            "train_gpu instances",
            "training image",
            "serving image",
            "endpoint quota",
            "train_gpu price",
            "Batch",
            "API",
        ),
    }
    assert {it["level"] for it in document["findings"]} <= {"ok", "note"}


def test_it_is_told_in_words_with_what_to_type(account: StubbedAccount, rlpipe: Rlpipe) -> None:
    account.quotas["L-DB2E81BA"] = account.quotas["L-3819A6DF"] = 0
    said = rlpipe("doctor", "--stage", "dev")
    assert said.exit_code == 1
    assert "0 vCPUs On-Demand (L-DB2E81BA); train_gpu needs 4 an instance" in said.stdout
    assert "train_gpu jobs would wait in RUNNABLE until they are cancelled" in said.stdout
    assert (
        "$ aws service-quotas request-service-quota-increase --service-code ec2 --quota-code L-DB2E81BA "
        f"--desired-value 16 --region {REGION}" in said.stdout
    )
    assert said.stdout.endswith("1 thing would stop a run.\n")


@pytest.mark.parametrize("error", [NoCredentialsError(), NoRegionError()])
def test_without_credentials_or_a_region_there_is_nothing_to_look_at(
    account: StubbedAccount, rlpipe: Rlpipe, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse() -> None:
        raise error

    monkeypatch.setattr(account, "get_caller_identity", refuse)
    said = rlpipe("doctor", "--stage", "dev", "--json")
    assert said.exit_code == 2
    assert "AWS_" in said.document["error"]["next_step"]


def test_credentials_of_another_account_are_told_before_anything_else(
    account: StubbedAccount, finding: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    another_stage(monkeypatch, account="999999999999", region="us-east-1")
    found = finding("credentials")
    assert "999999999999" in found["what"]
    assert found["fix"].startswith("export AWS_PROFILE=")
    found = finding("region")
    assert found["fix"] == "export AWS_REGION=us-east-1"


def test_a_region_that_is_not_enabled(account: StubbedAccount, finding: Callable[..., dict[str, Any]]) -> None:
    account.opted_in = "not-opted-in"
    assert finding("region")["fix"] == f"aws account enable-region --region-name {REGION}"


@pytest.mark.parametrize("version", [None, "5"])
def test_a_region_without_bootstrap(
    account: StubbedAccount, finding: Callable[..., dict[str, Any]], version: str | None
) -> None:
    account.bootstrap = version
    if version is None:
        assert finding("bootstrap", level="warning")["fix"], "what is deployed runs on without it"
        account.stacks = {}
    assert finding("bootstrap")["fix"] == f"cdk bootstrap aws://{ACCOUNT}/{REGION}"


def test_a_stage_that_is_not_deployed(
    account: StubbedAccount, finding: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctors_account, "_engine_answers", lambda: False)
    account.stacks = {}
    assert finding("deployment")["fix"] == "cdk deploy --all -c stage=dev"
    assert "images.builder: codebuild" in finding("docker")["fix"]
    account.stacks = {"network": "CREATE_COMPLETE", "api": "CREATE_COMPLETE"}
    assert "storage are not there" in finding("deployment")["what"]


def test_a_command_line_of_the_cdk_that_is_missing(
    account: StubbedAccount,
    finding: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    account.stacks = {}
    (tmp_path / "package.json").write_text('{"devDependencies": {"aws-cdk": "2.0.0"}}')
    monkeypatch.setattr(doctors_account, "_ROOT", tmp_path)
    assert finding("CDK")["fix"] == "make setup"
    module = tmp_path / "node_modules" / "aws-cdk"
    module.mkdir(parents=True)
    (module / "package.json").write_text('{"version": "3.0.0"}')
    assert "3.0.0, and 2.0.0 is needed" in finding("CDK")["what"]


@pytest.mark.parametrize(
    ("status", "level"),
    [("UPDATE_IN_PROGRESS", "warning"), ("ROLLBACK_COMPLETE", "stops"), ("UPDATE_ROLLBACK_FAILED", "stops")],
)
def test_a_stack_that_is_not_whole(
    account: StubbedAccount, finding: Callable[..., dict[str, Any]], status: str, level: str
) -> None:
    account.stacks["compute"] = status
    assert status in finding("deployment", level=level)["what"]


@pytest.mark.parametrize(
    ("on_demand", "spot", "level", "code"),
    [
        (0, 0, "stops", "L-DB2E81BA"),
        (0, 16, "warning", "L-DB2E81BA"),
        (16, 0, "warning", "L-3819A6DF"),
        (8, 4, "note", "L-DB2E81BA"),
        (4, 8, "note", "L-3819A6DF"),
    ],
)
def test_a_quota_that_is_too_small(
    account: StubbedAccount,
    finding: Callable[..., dict[str, Any]],
    on_demand: float,
    spot: float,
    level: str,
    code: str,
) -> None:
    account.quotas |= {"L-DB2E81BA": on_demand, "L-3819A6DF": spot}
    found = finding("G and VT quota", level=level)
    assert f"({code})" in found["what"]
    assert f"--quota-code {code} --desired-value 16" in found["fix"]


def test_a_quota_that_was_never_changed_is_aws_own(
    account: StubbedAccount, finding: Callable[..., dict[str, Any]]
) -> None:
    account.quotas["L-1216C47A"] = 1
    account.unchanged_quotas = {"L-1216C47A"}
    assert "validation" in finding("Standard quota")["what"]


def test_only_what_the_run_needs_is_looked_at(account: StubbedAccount, rlpipe: Rlpipe, tmp_path: Path) -> None:
    account.quotas["L-DB2E81BA"] = account.quotas["L-3819A6DF"] = 0
    file = tmp_path / "run.yaml"
    file.write_text("environment: {id: CartPole-v1}\nseeds: 3\nlimits: {max_hours: 2, max_cost_usd: 0.25}\n")
    said = rlpipe("doctor", str(file), "--stage", "dev")
    assert said.exit_code == 0, said.stdout
    assert "G and VT" not in said.stdout
    assert "Training costs at most $0.75: 3 seeds under limits.max_hours 2 and max_cost_usd 0.25" in said.stdout
    file.write_text(ONE_GPU)
    assert rlpipe("doctor", str(file), "--stage", "dev").exit_code == 1


def test_a_run_without_spot_needs_its_on_demand_quota(
    account: StubbedAccount, finding: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    account.quotas["L-DB2E81BA"] = 0
    file = tmp_path / "run.yaml"
    file.write_text(ONE_GPU.replace("gpu}", "gpu, spot: false}"))
    assert "L-DB2E81BA" in finding("G and VT quota", str(file))["what"]


def test_a_run_file_that_is_refused(account: StubbedAccount, rlpipe: Rlpipe, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("environment: {id: CartPole-v1}\ntimesteps: soon\n")
    said = rlpipe("doctor", str(tmp_path), "--stage", "dev")
    assert said.exit_code == 2
    assert "timesteps" in said.stderr


def test_instance_types_that_the_zones_do_not_offer(
    account: StubbedAccount, finding: Callable[..., dict[str, Any]]
) -> None:
    gpus = ("g4dn.xlarge", "g4dn.2xlarge", "g5.xlarge", "g6.xlarge")
    account.missing_offers = {("g6.xlarge", zone) for zone in account.zones}
    found = finding("train_gpu instances", level="note")
    assert "g6.xlarge is not offered in eu-west-1a, eu-west-1b" in found["what"]
    # The third zone has them, and the stage is not deployed to it.
    account.missing_offers = {(type_, zone) for type_ in gpus for zone in account.zones[:2]}
    found = finding("train_gpu instances")
    assert "eu-west-1c have them" in found["fix"]
    account.stacks = {}
    assert "eu-west-1c have them" in finding("train_gpu instances")["fix"], "nor would it be"


def test_a_missing_spot_role(account: StubbedAccount, finding: Callable[..., dict[str, Any]]) -> None:
    account.spot_role = False
    fix = finding("Spot role", level="warning")["fix"]
    assert fix == "aws iam create-service-linked-role --aws-service-name spot.amazonaws.com"


@pytest.mark.parametrize("kind", ["training", "serving"])
def test_an_image_that_is_not_in_ecr(
    account: StubbedAccount, finding: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    account.images.remove(kind)
    assert finding(f"{kind} image")["fix"].startswith("cdk deploy --all -c stage=dev")
    another_stage(monkeypatch, builder="codebuild")
    assert "aws codebuild start-build" in finding(f"{kind} image")["fix"]


def test_an_endpoint_limit_that_is_used_up(account: StubbedAccount, finding: Callable[..., dict[str, Any]]) -> None:
    account.endpoint_quota = 1
    found = finding("endpoint quota")
    assert "1 of 1 ml.t2.medium" in found["what"]
    assert "--service-code sagemaker --quota-code L-1 --desired-value 3" in found["fix"]
    account.endpoint_quota = None
    assert "no quota called" in finding("endpoint quota", level="unknown")["what"]


def test_a_run_that_deploys_nothing_needs_no_endpoint(account: StubbedAccount, rlpipe: Rlpipe, tmp_path: Path) -> None:
    account.endpoint_quota = 0
    (tmp_path / "run.yaml").write_text("environment: {id: CartPole-v1}\ndeploy: {target: none}\n")
    assert rlpipe("doctor", str(tmp_path), "--stage", "dev").exit_code == 0


def test_a_price_that_has_risen(account: StubbedAccount, finding: Callable[..., dict[str, Any]]) -> None:
    account.prices["g5.xlarge"] = 1.3
    found = finding("train_gpu price", level="warning")
    assert "$1.3 an hour in eu-west-1, and limits count with $1.006" in found["what"]
    assert "jobs.train_gpu.price_per_hour: 1.3" in found["fix"]


def test_without_the_pricing_api_the_settings_prices_are_told(
    account: StubbedAccount, finding: Callable[..., dict[str, Any]]
) -> None:
    account.denied = {"get_products"}
    assert "$1.006 an hour for train_gpu" in finding("prices", level="note")["what"]


def test_an_endpoint_says_what_it_costs(account: StubbedAccount, finding: Callable[..., dict[str, Any]]) -> None:
    assert "$41 a month" in finding("endpoint price", level="note")["what"]


def test_a_queue_that_is_switched_off(account: StubbedAccount, rlpipe: Rlpipe) -> None:
    account.queue_state = "DISABLED"
    said = rlpipe("doctor", "--stage", "dev")
    assert said.exit_code == 1
    assert "aws batch update-job-queue --job-queue Gpu --state ENABLED" in said.stdout


def test_an_environment_that_is_invalid(account: StubbedAccount, rlpipe: Rlpipe) -> None:
    account.environment_status, account.environment_reason = "INVALID", "CLIENT_ERROR - not authorized"
    said = rlpipe("doctor", "--stage", "dev")
    assert said.exit_code == 1
    assert "CLIENT_ERROR - not authorized" in said.stdout


def test_jobs_that_wait_for_long(account: StubbedAccount, finding: Callable[..., dict[str, Any]]) -> None:
    account.waiting = [
        {"jobId": "old", "jobName": "n", "createdAt": 0, "statusReason": "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"},
    ]
    found = finding("Batch", level="warning")
    assert "INSUFFICIENT_INSTANCE_CAPACITY" in found["what"]
    assert found["fix"] == "aws batch describe-jobs --jobs old"


def test_an_api_that_refuses_this_person(account: StubbedAccount, finding: Callable[..., dict[str, Any]]) -> None:
    account.api = (403, {"message": "User is not authorized"})
    assert "execute-api:Invoke" in finding("API")["fix"]
    account.api = (500, {"message": "internal"})
    assert "control function" in finding("API")["fix"]


def test_what_may_not_be_looked_at_is_unknown_and_hides_nothing_else(
    account: StubbedAccount, rlpipe: Rlpipe, finding: Callable[..., dict[str, Any]]
) -> None:
    account.denied = {"get_service_quota"}
    assert finding("quotas", level="unknown")["fix"] == "have this permission granted: GetServiceQuota"
    account.queue_state = "DISABLED"
    said = rlpipe("doctor", "--stage", "dev", "--json")
    assert said.exit_code == 1
    assert {"quotas", "Batch"} <= {it["check"] for it in said.document["findings"] if it["level"] != "ok"}


def test_each_shipped_stage_has_quotas_for_its_instances() -> None:
    from config.settings import load_settings

    for stage in ("dev", "prod"):
        compute = load_settings(stage).compute
        for type_ in (*compute.cpu.instance_types, *compute.gpu.instance_types):
            assert type_[0] in capacity.QUOTAS


def another_stage(monkeypatch: pytest.MonkeyPatch, *, builder: str = "docker", **changed: Any) -> None:
    """Settings of stage dev that differ in this."""
    from cli.commands import doctor
    from config.settings import ImagesSettings, load_settings

    images = ImagesSettings.model_validate({"builder": builder})
    settings = load_settings("dev").model_copy(update={**changed, "images": images})
    monkeypatch.setattr(doctor, "load_settings", lambda _: settings)

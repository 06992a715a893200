import json

import pytest

from contract.layout import CHECKPOINT_TAG
from tests.infra.conftest import ROOT, Stage, statements


def test_no_bucket_is_public_unencrypted_or_unversioned(stage: Stage) -> None:
    buckets = stage.resources("AWS::S3::Bucket")
    assert len(buckets) == 3
    for bucket in buckets.values():
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        assert len(bucket["PublicAccessBlockConfiguration"]) == 4
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
        [encryption] = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
        [ownership] = bucket["OwnershipControls"]["Rules"]
        assert ownership == {"ObjectOwnership": "BucketOwnerEnforced"}


def test_every_bucket_refuses_plain_http_and_old_tls(stage: Stage) -> None:
    policies = stage.resources("AWS::S3::BucketPolicy")
    assert {policy["Bucket"]["Ref"] for policy in policies.values()} == set(stage.resources("AWS::S3::Bucket"))
    for policy in policies.values():
        denied = [s["Condition"] for s in statements(policy) if s["Effect"] == "Deny"]
        assert {"Bool": {"aws:SecureTransport": "false"}} in denied
        assert {"NumericLessThan": {"s3:TlsVersion": 1.2}} in denied


def test_only_the_input_bucket_announces_its_objects(stage: Stage) -> None:
    announcing = {
        name[:5]: bucket["NotificationConfiguration"]
        for name, bucket in stage.resources("AWS::S3::Bucket").items()
        if "NotificationConfiguration" in bucket
    }
    assert announcing == {"Input": {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}}


def test_access_to_input_and_artifacts_is_logged(stage: Stage) -> None:
    for name, bucket in stage.resources("AWS::S3::Bucket").items():
        assert ("LoggingConfiguration" in bucket) == (not name.startswith("AccessLogs"))


def test_old_versions_and_checkpoints_expire_and_models_do_not(stage: Stage) -> None:
    storage = stage.settings.storage
    for name, bucket in stage.resources("AWS::S3::Bucket").items():
        rules = bucket["LifecycleConfiguration"]["Rules"]
        assert {"NoncurrentDays": storage.recoverable_days} in [r.get("NoncurrentVersionExpiration") for r in rules]
        assert {"DaysAfterInitiation": 7} in [rule.get("AbortIncompleteMultipartUpload") for rule in rules]
        expiring = [(rule["ExpirationInDays"], rule.get("TagFilters")) for rule in rules if "ExpirationInDays" in rule]
        key, value = CHECKPOINT_TAG
        assert (
            expiring
            == {
                "Acc": [(storage.access_log_days, None)],
                "Inp": [],
                "Art": [
                    (storage.checkpoint_days, [{"Key": key, "Value": value}]),
                    (storage.captured_days, None),
                ],
            }[name[:3]]
        )


def test_a_run_that_waits_to_be_continued_still_finds_its_checkpoints(stage: Stage) -> None:
    longest = json.loads((ROOT / "statemachine" / "pipeline.asl.json").read_text())["TimeoutSeconds"]
    assert stage.settings.storage.checkpoint_days * 24 * 3600 > longest


def test_destroying_a_stage_to_try_things_in_takes_the_files_along(stages: dict[str, Stage]) -> None:
    for name, expected in {"local": 0, "dev": 2, "prod": 0}.items():
        assert len(stages[name].resources("Custom::Teardown")) == expected
    properties = stages["dev"].templates["storage"]["Resources"]
    [emptied] = [it["Properties"]["Buckets"] for it in properties.values() if it["Type"] == "Custom::Teardown"]
    buckets = stages["dev"].resources("AWS::S3::Bucket")
    assert {bucket["Ref"] for bucket in emptied} == set(buckets)


def test_the_teardown_is_deleted_before_what_it_empties(stages: dict[str, Stage]) -> None:
    for room, kinds in {
        "storage": {"AWS::S3::Bucket", "AWS::Lambda::Function"},
        "serving": {"AWS::SageMaker::ModelPackageGroup", "AWS::Lambda::Function"},
    }.items():
        resources = stages["dev"].templates[room]["Resources"]
        [teardown] = [it for it in resources.values() if it["Type"] == "Custom::Teardown"]
        assert kinds <= {resources[name]["Type"] for name in teardown["DependsOn"]}
        for name in teardown["DependsOn"]:
            if resources[name]["Type"] == "AWS::Lambda::Function":  # whose permissions must outlive it
                assert any(resources[it]["Type"] == "AWS::IAM::Policy" for it in resources[name]["DependsOn"])


@pytest.mark.parametrize("kind", ["AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"])
def test_queues_and_topics_refuse_plain_http(stage: Stage, kind: str) -> None:
    policies = stage.resources(kind)
    assert policies
    for policy in policies.values():
        conditions = [s["Condition"] for s in statements(policy) if s["Effect"] == "Deny"]
        assert {"Bool": {"aws:SecureTransport": "false"}} in conditions


def test_queues_and_topics_are_encrypted(stage: Stage) -> None:
    assert all(queue["SqsManagedSseEnabled"] for queue in stage.resources("AWS::SQS::Queue").values())
    assert all("KmsMasterKeyId" in topic for topic in stage.resources("AWS::SNS::Topic").values())


def test_the_record_of_runs_is_encrypted_and_can_be_taken_back_in_time(stage: Stage) -> None:
    table = stage.one("AWS::DynamoDB::Table")
    assert table["SSESpecification"] == {"SSEEnabled": True}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}


def test_s3_may_write_the_access_logs_of_both_buckets(stage: Stage) -> None:
    allowed = [
        statement["Condition"]["ArnLike"]["aws:SourceArn"]["Fn::GetAtt"][0]
        for policy in stage.resources("AWS::S3::BucketPolicy").values()
        for statement in statements(policy)
        if statement["Effect"] == "Allow" and statement["Principal"] == {"Service": "logging.s3.amazonaws.com"}
    ]
    assert sorted(name[:-8] for name in allowed) == ["Artifacts", "Input"]

"""The settings that tests synthesise: the stages as they are shipped, and development with what none of them uses.

A synthesis takes two seconds, so switches that leave one another alone share one.
"""

from typing import Any

from config.settings import Settings, load_settings

STAGES = ("local", "dev", "prod")

MLFLOW = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-tracking-server/ours"
ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
CLUSTER = {
    "cluster_name": "shared",
    "namespace": "learning",
    "vpc_id": "vpc-0123456789abcdef0",
    "subnet_ids": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
    "security_group_id": "sg-0123456789abcdef0",
}
VOLTA = {"machine_image": "ami-0123456789abcdef0", "instance_types": ["p3.2xlarge"], "max_vcpus": 8}
_ID = "01234567-89ab-cdef-0123-456789abcdef"
_ACCOUNT = {"account": "123456789012", "region": "eu-west-1"}

VARIANTS: dict[str, dict[str, Any]] = {
    # Services on ECS beside SageMaker's endpoints, an MLflow server, three zones, and everybody who can be told.
    "switched": {
        **_ACCOUNT,
        "network": {"availability_zones": 3},
        "metrics": {"mlflow_tracking_uri": MLFLOW},
        "serving": {"ecs": {"tasks": 2}},
        "alerts": {
            "email": "somebody@example.org",
            "monthly_budget_usd": 200,
            "slack": {"workspace_id": "T07EA123LEP", "channel_id": "C07EZ1ABC23"},
            "teams": {"tenant_id": _ID, "team_id": _ID, "channel_id": "19%3a0123abcd%40thread.tacv2"},
        },
    },
    # No way to the internet, images that CodeBuild makes, and other limits of the alarms.
    "walled_in": {
        "network": {"egress": "endpoints", "flow_logs": True},
        "images": {"builder": "codebuild"},
        "alerts": {
            "patience_minutes": 3,
            "return_drop": 0.25,
            "checkpoint_overdue_minutes": 2,
            "without_step_minutes": 4,
            "budget_percent": 50,
        },
    },
    # Images that are there already, a machine image for V100s among them, one NAT gateway, and callers with a key.
    "brought": {
        **_ACCOUNT,
        "network": {"egress": "nat"},
        "compute": {"gpu": VOLTA},
        "images": {
            "training_uri": f"{ECR}/rl/training:cuda12.6",
            "serving_uri": f"{ECR}/rl/serving@sha256:{'0' * 64}",
        },
        "api": {"auth": "api_key", "cors_origins": ["https://example.org"], "requests_per_day": 7},
        "protect": True,
        "empty_on_destroy": False,
    },
    # The jobs on a cluster that is there.
    "kubernetes": {"compute": {"kubernetes": CLUSTER}},
}
"""What each variant changes in the settings of development."""


def settings_of(name: str) -> Settings:
    """The settings of a stage or of a variant."""
    return load_settings(name) if name in STAGES else changed(VARIANTS[name])


def changed(changes: dict[str, Any]) -> Settings:
    """Development with some settings replaced, checked as a file would be."""
    return Settings.model_validate(_merged(load_settings("dev").model_dump(), changes))


def _merged(document: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    replaced = {
        key: _merged(document[key], value) if isinstance(value, dict) and isinstance(document.get(key), dict) else value
        for key, value in changes.items()
    }
    return {**document, **replaced}

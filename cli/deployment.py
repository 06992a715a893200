"""Which deployment a command talks to: the environment says so, or this machine has one, or the account does."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from cli.errors import CliError, error_code
from contract.outcomes import ExitCode

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_batch import BatchClient
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient
    from mypy_boto3_stepfunctions import SFNClient

    from cli.api import Api

DEFAULT_STAGE = "dev"
LOCAL_STAGE = "local"
STATE_FOLDER = ".rlpipe"
LOCAL_RECORD = "local.json"

VARIABLES = {
    "RLPIPE_INPUT_BUCKET": "InputBucketName",
    "RLPIPE_ARTIFACTS_BUCKET": "ArtifactsBucketName",
    "RLPIPE_STATE_MACHINE_ARN": "StateMachineArn",
    "RLPIPE_API_URL": "ApiUrl",
}
"""The variables that name a deployment, and the CloudFormation output that holds the same."""

_ROOMS = ("storage", "pipeline", "api")


@dataclass(frozen=True, kw_only=True)
class Place:
    """An AWS, of this machine or of an account, and the stage that is meant there, deployed or not."""

    stage: str
    session: "boto3.Session"
    endpoint_url: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether it lives on this machine, where nothing is far away and nobody counts the calls."""
        return _is_local(self.endpoint_url)

    def client(self, service: str, *, region: str | None = None) -> Any:
        """A client of a service there."""
        return _client(self.session, service, self.endpoint_url, region)


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A deployed pipeline and the AWS clients to reach it."""

    stage: str
    input_bucket: str
    artifacts_bucket: str
    state_machine_arn: str
    api_url: str
    session: "boto3.Session"
    endpoint_url: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether it lives on this machine, where nothing is far away and nobody counts the calls."""
        return _is_local(self.endpoint_url)

    @property
    def poll_seconds(self) -> float:
        """How long to wait between two looks at a run."""
        return 0.5 if self.is_local else 3.0

    @cached_property
    def api(self) -> "Api":
        from cli.api import Api

        return Api(self.api_url, self.session, is_local=self.is_local)

    @cached_property
    def s3(self) -> "S3Client":
        return cast("S3Client", self._client("s3"))

    @cached_property
    def states(self) -> "SFNClient":
        return cast("SFNClient", self._client("stepfunctions"))

    @cached_property
    def batch(self) -> "BatchClient":
        return cast("BatchClient", self._client("batch"))

    @cached_property
    def logs(self) -> "CloudWatchLogsClient":
        return cast("CloudWatchLogsClient", self._client("logs"))

    @cached_property
    def sagemaker(self) -> "SageMakerClient":
        return cast("SageMakerClient", self._client("sagemaker"))

    @cached_property
    def sagemaker_runtime(self) -> "SageMakerRuntimeClient":
        return cast("SageMakerRuntimeClient", self._client("sagemaker-runtime"))

    @cached_property
    def cloudwatch(self) -> "CloudWatchClient":
        return cast("CloudWatchClient", self._client("cloudwatch"))

    def _client(self, service: str) -> Any:
        return _client(self.session, service, self.endpoint_url)


def find(
    stage: str | None = None, *, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Deployment:
    """The deployment that a command means.

    Variables `RLPIPE_*` come first; then an embedded AWS of this folder or one above, unless a stage or an AWS
    profile is named; then the stacks `rlpipe-<stage>-*` of the account that the AWS settings point at.

    Raises:
        CliError: there is none, with the command that makes one.
    """
    environment = os.environ if environment is None else environment
    if any(environment.get(name) for name in VARIABLES):
        return _from_environment(environment, stage, _session())
    place = find_place(stage, environment=environment, folder=folder)
    return _from_outputs(place.stage, place.session, place.endpoint_url)


def find_place(
    stage: str | None = None, *, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Place:
    """The AWS and the stage that a command means, whether the stage is deployed or not.

    As `find`, but of the variables `RLPIPE_*` it only takes the stage that the state machine is named after.
    """
    environment = os.environ if environment is None else environment
    endpoint_url = environment.get("AWS_ENDPOINT_URL") or None
    named = re.search(r":stateMachine:rlpipe-([a-z0-9]+)-", environment.get("RLPIPE_STATE_MACHINE_ARN", ""))
    if stage is None and named:
        return Place(stage=named[1], session=_session(), endpoint_url=endpoint_url)
    if stage is None and not environment.get("AWS_PROFILE"):
        record = running_instance(state_folder(environment, folder or Path.cwd()))
        if record is not None:
            return Place(stage=LOCAL_STAGE, session=_local_session(), endpoint_url=record["endpoint_url"])
        if _is_local(endpoint_url):
            return Place(stage=LOCAL_STAGE, session=_session(), endpoint_url=endpoint_url)
    return Place(stage=stage or DEFAULT_STAGE, session=_session(), endpoint_url=endpoint_url)


def state_folder(environment: Mapping[str, str], folder: Path) -> Path:
    """Where the embedded AWS keeps its state.

    RLPIPE_STATE_DIR, or the `.rlpipe` of one that runs in `folder` or above it, or the project's.
    """
    if named := environment.get("RLPIPE_STATE_DIR"):
        return Path(named).absolute()
    for candidate in (folder, *folder.parents):
        if (candidate / STATE_FOLDER / LOCAL_RECORD).is_file():
            return candidate / STATE_FOLDER
    return Path(__file__).parents[1] / STATE_FOLDER


def running_instance(folder: Path) -> dict[str, Any] | None:
    """The record of the embedded AWS whose state lies in `folder`, if its process lives."""
    try:
        record: dict[str, Any] = json.loads((folder / LOCAL_RECORD).read_text(encoding="utf-8"))
        os.kill(record["pid"], 0)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record


def _from_environment(environment: Mapping[str, str], stage: str | None, session: "boto3.Session") -> Deployment:
    missing = [name for name in VARIABLES if not environment.get(name)]
    if missing:
        raise CliError(
            f"{' and '.join(name for name in VARIABLES if name not in missing)} is set but {', '.join(missing)} is not",
            next_step='set all of them (`eval "$(rlpipe local env)"`) or none',
            exit_code=ExitCode.USAGE,
        )
    if stage is not None:
        raise CliError(
            f"--stage {stage} contradicts the variables RLPIPE_*, which name a deployment already",
            next_step=f"leave --stage out, or `unset {' '.join(VARIABLES)} AWS_ENDPOINT_URL`",
            exit_code=ExitCode.USAGE,
        )
    return Deployment(
        stage="environment",
        input_bucket=environment["RLPIPE_INPUT_BUCKET"],
        artifacts_bucket=environment["RLPIPE_ARTIFACTS_BUCKET"],
        state_machine_arn=environment["RLPIPE_STATE_MACHINE_ARN"],
        api_url=environment["RLPIPE_API_URL"],
        session=session,
        endpoint_url=environment.get("AWS_ENDPOINT_URL") or None,
    )


def _from_outputs(stage: str, session: "boto3.Session", endpoint_url: str | None) -> Deployment:
    cloudformation = cast("CloudFormationClient", _client(session, "cloudformation", endpoint_url))
    outputs: dict[str, str] = {}
    for room in _ROOMS:
        outputs |= _outputs_of(cloudformation, f"rlpipe-{stage}-{room}")
    missing = [output for output in VARIABLES.values() if output not in outputs]
    if missing:
        raise _not_deployed(stage, endpoint_url or f"region {session.region_name}", missing)
    return Deployment(
        stage=stage,
        input_bucket=outputs["InputBucketName"],
        artifacts_bucket=outputs["ArtifactsBucketName"],
        state_machine_arn=outputs["StateMachineArn"],
        api_url=reachable(outputs["ApiUrl"], endpoint_url),
        session=session,
        endpoint_url=endpoint_url,
    )


def _outputs_of(cloudformation: "CloudFormationClient", stack: str) -> dict[str, str]:
    from botocore.exceptions import ClientError

    try:
        found = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if error_code(error) == "ValidationError":  # CloudFormation's way to say that there is no such stack
            return {}
        raise
    return {output["OutputKey"]: output["OutputValue"] for output in found[0].get("Outputs", [])}


def reachable(api_url: str, endpoint_url: str | None) -> str:
    """An API's URL; of this machine's AWS in the form that is reached without a name server."""
    api = re.fullmatch(r"https://([a-z0-9]+)\.execute-api\.[^/]+/(\w+)/?", api_url)
    return f"{endpoint_url}/_aws/execute-api/{api[1]}/{api[2]}" if api and _is_local(endpoint_url) else api_url


def _not_deployed(stage: str, place: str, missing: list[str]) -> CliError:
    step = (
        "`rlpipe local up`"
        if stage == LOCAL_STAGE
        else f"`cdk deploy --all -c stage={stage}` for this account, `--stage` for another stage, "
        "`rlpipe local up` for this machine"
    )
    return CliError(
        f"stage {stage} is not deployed in {place}: its stacks have no output {', '.join(missing)}",
        next_step=step,
        exit_code=ExitCode.USAGE,
    )


def _session() -> "boto3.Session":
    import boto3

    return boto3.Session()


def _local_session() -> "boto3.Session":
    import boto3

    from embedded_aws.settings import ACCESS_KEY, REGION

    return boto3.Session(aws_access_key_id=ACCESS_KEY, aws_secret_access_key=ACCESS_KEY, region_name=REGION)


def _is_local(endpoint_url: str | None) -> bool:
    return urlsplit(endpoint_url or "").hostname in ("127.0.0.1", "localhost", "::1")


def _client(session: "boto3.Session", service: str, endpoint_url: str | None, region: str | None = None) -> Any:
    from botocore.config import Config

    config = Config(
        connect_timeout=5,
        read_timeout=70,  # InvokeEndpoint itself may take 60
        retries={"mode": "standard", "max_attempts": 3},
        max_pool_connections=32,
    )
    if _is_local(endpoint_url):  # no bucket's name resolves here, and no proxy knows the way
        retries: Any = {"total_max_attempts": 1}
        config = config.merge(Config(s3={"addressing_style": "path"}, proxies={}, retries=retries))
    make: Any = session.client
    return make(service, endpoint_url=endpoint_url, config=config, **({"region_name": region} if region else {}))

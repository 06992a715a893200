"""Whether there is an account to work in: credentials, region, bootstrap, tools, and the stage's stacks."""

import json
import shutil
import subprocess
from pathlib import Path

from cli.deployment import Place
from cli.doctor.findings import Finding, Findings, Level, good
from cli.doctor.patient import Patient
from cli.errors import error_code
from config.settings import Settings

ROOMS = ("alerts", "api", "compute", "events", "network", "pipeline", "runs", "serving", "storage")
"""The stacks of a stage."""

BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"
MIN_BOOTSTRAP = 6
"""Version of the bootstrap stack that our templates ask for, by the rule that CDK puts into each of them."""

MIN_FREE_BYTES = 2**30
"""Of the disk of this machine, where it is the AWS."""

_ROOT = Path(__file__).parents[2]
_ENGINE_SECONDS = 10


def identify(place: Place, settings: Settings) -> tuple[str, str, list[Finding]]:
    """Account, region, and what is wrong with them. Raises botocore's errors when there are no credentials."""
    from botocore.exceptions import NoRegionError

    region = place.session.region_name
    if not region:
        raise NoRegionError
    identity = place.client("sts").get_caller_identity()
    account = identity["Account"]
    findings = [good("credentials", f"account {account} as {identity['Arn'].rpartition(':')[2]}")]
    file = f"config/{settings.stage}.yaml"
    if settings.account not in (None, account):
        findings[0] = Finding(
            check="credentials",
            level=Level.STOPS,
            what=f"they are of account {account}, and {file} names {settings.account}",
            why="everything else would be looked for, and deployed, in the wrong account",
            fix="export AWS_PROFILE=<a profile of that account>   # aws configure list-profiles",
        )
    if settings.region not in (None, region):
        wrong = Finding(
            check="region",
            level=Level.STOPS,
            what=f"it is {region}, and {file} names {settings.region}",
            why="the stage is deployed to the region of its settings; what is looked for here is not there",
            fix=f"export AWS_REGION={settings.region}",
        )
        return account, region, [*findings, wrong]
    return account, region, findings


def region(patient: Patient) -> Findings:
    """Whether the region is one that the account may use."""
    found = patient.client("ec2").describe_regions(RegionNames=[patient.region], AllRegions=True)["Regions"]
    if found and found[0].get("OptInStatus") == "not-opted-in":
        yield Finding(
            check="region",
            level=Level.STOPS,
            what=f"{patient.region} is not enabled in this account",
            why="nothing can be created in it",
            fix=f"aws account enable-region --region-name {patient.region}",
        )
    else:
        yield good("region", patient.region)


def bootstrap(patient: Patient) -> Findings:
    """Whether `cdk bootstrap` was done here."""
    fix = f"cdk bootstrap aws://{patient.account}/{patient.region}"
    why = "`cdk deploy` puts its files and images into the bucket and repository that it makes"
    ssm = patient.client("ssm")
    try:
        version = int(ssm.get_parameter(Name=BOOTSTRAP_PARAMETER)["Parameter"]["Value"])
    except Exception as error:
        if error_code(error) != "ParameterNotFound":
            raise
        level = Level.WARNING if patient.stacks else Level.STOPS
        yield Finding(check="bootstrap", level=level, what="CDK is not bootstrapped here", why=why, fix=fix)
        return
    if version < MIN_BOOTSTRAP:
        what = f"its version is {version}, and {MIN_BOOTSTRAP} is needed"
        yield Finding(check="bootstrap", level=Level.STOPS, what=what, why=why, fix=fix)
    else:
        yield good("bootstrap", f"version {version}")


def stacks(patient: Patient) -> Findings:
    """Whether the stage is deployed, whole."""
    deploy = f"cdk deploy --all -c stage={patient.stage}" if not patient.place.is_local else "rlpipe local up"
    missing = [room for room in ROOMS if room not in patient.stacks]
    if missing:
        some = (
            "no stack of it is"
            if len(missing) == len(ROOMS)
            else f"{', '.join(missing)} " + ("is" if len(missing) == 1 else "are")
        )
        yield Finding(
            check="deployment",
            level=Level.STOPS,
            what=f"stage {patient.stage} is not deployed: {some} not there"
            if len(missing) < len(ROOMS)
            else f"stage {patient.stage} is not deployed",
            why="a dropped file would start nothing",
            fix=deploy,
        )
    for room, stack in patient.stacks.items():
        status = str(stack["status"])
        if status.endswith("_IN_PROGRESS"):
            yield Finding(
                check="deployment",
                level=Level.WARNING,
                what=f"rlpipe-{patient.stage}-{room} is being changed: {status}",
                why="a run that starts now may meet half of a deployment",
                fix=f"aws cloudformation wait stack-update-complete --stack-name rlpipe-{patient.stage}-{room}",
            )
        elif status.endswith("FAILED") or status == "ROLLBACK_COMPLETE":
            yield Finding(
                check="deployment",
                level=Level.STOPS,
                what=f"rlpipe-{patient.stage}-{room} is {status}",
                why="its resources are not what the rest of the stage expects",
                fix=f"aws cloudformation describe-stack-events --stack-name rlpipe-{patient.stage}-{room}   "
                f"# then: {deploy}",
            )
    if not missing and all(str(stack["status"]).endswith("_COMPLETE") for stack in patient.stacks.values()):
        yield good("deployment", f"all {len(ROOMS)} stacks of stage {patient.stage} are there")


def tools(patient: Patient) -> Findings:
    """What `cdk deploy` needs on this machine; of a stage that is deployed nothing any more."""
    if set(ROOMS) <= set(patient.stacks):
        return
    wanted = json.loads((_ROOT / "package.json").read_text())["devDependencies"]["aws-cdk"]
    installed = _ROOT / "node_modules" / "aws-cdk" / "package.json"
    version = json.loads(installed.read_text())["version"] if installed.is_file() else None
    if version == wanted:
        yield good("CDK", f"command line {version}")
    else:
        yield Finding(
            check="CDK",
            level=Level.STOPS,
            what=f"the command line is {version}, and {wanted} is needed" if version else "the command line is missing",
            why="another version may not read our assembly",
            fix="make setup",
        )
    images = patient.settings.images
    built = images.builder == "docker" and not (images.training_uri and images.serving_uri)
    if built and not patient.place.is_local and not _engine_answers():
        yield Finding(
            check="docker",
            level=Level.STOPS,
            what="no container engine answers",
            why="`cdk deploy` builds both images with it",
            fix=f"start Docker, or set images.builder: codebuild in config/{patient.stage}.yaml",
        )


def disk(patient: Patient) -> Findings:
    """Whether this machine has room for what runs write."""
    free = shutil.disk_usage(_ROOT).free
    if free >= MIN_FREE_BYTES:
        yield good("disk", f"{free / 2**30:.0f} GiB free")
        return
    yield Finding(
        check="disk",
        level=Level.STOPS,
        what=f"{free / 2**30:.1f} GiB free",
        why="checkpoints could not be written",
        fix="rlpipe local down   # what the embedded AWS stored goes with it; then free some more",
    )


def api(patient: Patient) -> Findings:
    """Whether this person may command runs."""
    from cli.api import Api
    from cli.deployment import reachable

    url = patient.outputs.get("api", {}).get("ApiUrl")
    if url is None:
        return
    place = patient.place
    status, answer = Api(reachable(url, place.endpoint_url), place.session, is_local=place.is_local).request(
        "GET", "/runs", query={"limit": "1"}
    )
    if status == 200:
        yield good("API", "it answers, and you may ask it")
        return
    denied = status in (401, 403)
    yield Finding(
        check="API",
        level=Level.STOPS,
        what=f"it answers with {status}: {answer.get('message', '')}".rstrip(": "),
        why="no run can be paused, stopped or approved",
        fix="have execute-api:Invoke granted, or set RLPIPE_API_KEY where api.auth is api_key"
        if denied
        else "look at the control function's log",
    )


def _engine_answers() -> bool:
    client = shutil.which("docker")
    if client is None:
        return False
    try:
        return (
            subprocess.run([client, "info"], capture_output=True, timeout=_ENGINE_SECONDS, check=False).returncode == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False

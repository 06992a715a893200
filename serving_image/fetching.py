"""A policy's archive from S3, for containers that nobody gives a model folder: on ECS, on Kubernetes, by hand.

It is read as the container's own role, with the standard library alone: an AWS SDK would be the largest package of the
image, for one GET when a container starts.
"""

import contextlib
import hashlib
import hmac
import http.client
import io
import json
import tarfile
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from contract.archives import extract
from serving_image.model_folder import ModelError

ATTEMPTS = 5
"""How often S3 is asked while it is busy or cannot be reached, with pauses of 0.5, 1, 2 and 4 seconds."""
PATIENCE_SECONDS = 20
"""How long S3 may be silent."""

_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_RELATIVE, _FULL = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"
_TOKEN, _TOKEN_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
_OF_ECS = "http://169.254.170.2"
_WITHOUT_TLS = ("127.0.0.1", "localhost", "::1", "169.254.170.2", "169.254.170.23", "fd00:ec2::23")
"""Hosts that may hand out keys over plain HTTP: this machine, ECS, and EKS Pod Identity."""
_NOTHING = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The access keys of a role."""

    access: str
    secret: str
    token: str = ""


def fetch(
    uri: str, folder: Path, environment: Mapping[str, str], *, pause: Callable[[float], None] = time.sleep
) -> None:
    """Extract the archive of a policy into a folder.

    Args:
        uri: `s3://bucket/key`.
        environment: the container's variables: region, endpoint and keys, by the names of the AWS SDKs.

    Raises:
        ModelError: there is no such archive, the role may not read it, or it is damaged.
    """
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    if not region:
        raise ModelError("The region of the bucket is not known: AWS_REGION is not set.")
    url = _url(uri, region, environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL"))
    headers = signed(url, _keys(environment, pause), region=region, at=time.gmtime())
    status, body = _get(url, headers, pause)
    if status != 200:
        code, message = (_text_in(body, name) for name in ("Code", "Message"))
        raise ModelError(f"{uri} cannot be read: S3 answers {status} {code}, {message or 'without a reason'}.")
    try:
        extract(io.BytesIO(body), folder)
    except (tarfile.TarError, zlib.error, OSError, EOFError) as error:
        raise ModelError(f"{uri} cannot be extracted to {folder}: {type(error).__name__} {error}.") from error


def signed(url: str, keys: Keys, *, region: str, at: time.struct_time) -> dict[str, str]:
    """The headers of a GET of an object, with its signature.

    https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html

    Args:
        at: the time of the request, UTC.
    """
    parts, stamp = urlsplit(url), time.strftime("%Y%m%dT%H%M%SZ", at)
    headers = {"host": parts.netloc, "x-amz-content-sha256": _NOTHING, "x-amz-date": stamp}
    if keys.token:
        headers["x-amz-security-token"] = keys.token
    names = ";".join(headers)
    lines = [f"{name}:{value}\n" for name, value in headers.items()]
    canonical = "\n".join(["GET", parts.path, "", "".join(lines), names, _NOTHING])
    scope = [stamp[:8], region, "s3", "aws4_request"]
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{keys.secret}".encode()
    for part in [*scope, "\n".join(["AWS4-HMAC-SHA256", stamp, "/".join(scope), digest])]:
        key = hmac.digest(key, part.encode(), "sha256")
    credential = "/".join([keys.access, *scope])
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={key.hex()}"
    return headers


def _url(uri: str, region: str, endpoint: str | None) -> str:
    """Where the object lies. A bucket with a dot is in the path, since no certificate covers it as a host."""
    bucket, _, name = uri.removeprefix("s3://").partition("/")
    key = quote(name, safe="/~")
    if endpoint:
        return f"{endpoint.rstrip('/')}/{bucket}/{key}"
    host = f"s3.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
    return f"https://{host}/{bucket}/{key}" if "." in bucket else f"https://{bucket}.{host}/{key}"


def _keys(environment: Mapping[str, str], pause: Callable[[float], None]) -> Keys:
    """The keys in the variables, or those that ECS or EKS Pod Identity has for this container.

    https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
    """
    access, secret, token = (environment.get(name, "") for name in _KEYS)
    if access and secret:
        return Keys(access=access, secret=secret, token=token)
    relative = environment.get(_RELATIVE)
    url = f"{_OF_ECS}{relative}" if relative else environment.get(_FULL)
    if not url:
        raise ModelError(
            f"There are no keys to read the policy with: neither {_KEYS[0]} and {_KEYS[1]}, nor {_RELATIVE} (a task "
            f"role on ECS) or {_FULL} (EKS Pod Identity) is set."
        )
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in _WITHOUT_TLS:
        raise ModelError(f"{_FULL} must be an https address, or one of {', '.join(_WITHOUT_TLS)} (given: {url!r}).")
    authorization = environment.get(_TOKEN, "")
    if file := environment.get(_TOKEN_FILE):
        try:
            authorization = Path(file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ModelError(f"{_TOKEN_FILE} cannot be read: {error}.") from error
    status, body = _get(url, {"authorization": authorization} if authorization else {}, pause)
    try:
        found = json.loads(body)
        return Keys(access=found["AccessKeyId"], secret=found["SecretAccessKey"], token=found["Token"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{url} answers {status} and no keys of a role.") from error


def _get(url: str, headers: Mapping[str, str], pause: Callable[[float], None]) -> tuple[int, bytes]:
    """Status and body of a GET, which is repeated while the other side is busy or cannot be reached."""
    failure = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            pause(0.5 * 2 ** (attempt - 1))
        try:
            status, body = _ask(url, headers)
        except (OSError, http.client.HTTPException) as error:
            failure = f"{type(error).__name__} {error}"
            continue
        if status < 500 and status != 429:
            return status, body
        failure = f"it answers {status}"
    raise ModelError(f"{url} could not be read, {ATTEMPTS} times in a row: {failure}.")


def _ask(url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    with contextlib.closing(kind(parts.netloc, timeout=PATIENCE_SECONDS)) as connection:
        connection.request("GET", f"{parts.path}?{parts.query}" if parts.query else parts.path, headers=dict(headers))
        response = connection.getresponse()
        return response.status, response.read()  # a body that ends too early raises IncompleteRead


def _text_in(body: bytes, name: str) -> str:
    """The text of an element of S3's error document; empty where there is none."""
    text = body.decode("utf-8", "replace")
    return text.partition(f"<{name}>")[2].partition(f"</{name}>")[0]

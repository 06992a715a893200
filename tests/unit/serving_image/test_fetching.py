"""A container that is given no model folder fetches its policy from S3, with the keys of its role."""

import io
import json
import re
import ssl
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.session import Session
from botocore.validate import ParamValidator

from serving_image import fetching
from serving_image.fetching import Keys, fetch, signed
from serving_image.model_folder import ModelError
from serving_image.server import STOP_SECONDS, SettingError, Settings
from tests.unit.serving_image.conftest import ROOT, running, start_process
from tests.unit.serving_image.models import write_model

URI = "s3://artifacts/runs/cartpole-0123456789ab/model.tar.gz"
DENIED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
ROLE = {"AccessKeyId": "ASIATASK", "SecretAccessKey": "secret", "Token": "of-the-session", "Expiration": "later"}


def archive(folder: Path) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for file in sorted(folder.iterdir()):
            tar.add(file, file.name)
    return packed.getvalue()


@dataclass
class Aws:
    """S3 and what hands out a role's keys, on loopback: each request takes the next of the answers of its path."""

    answers: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    address: str = ""

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_REGION": "eu-central-1",
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": "",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self.address}/v2/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "let-me",
        }

    def answer(self, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
        self.asked.append((path, headers))
        answers = self.answers[path]
        return answers.pop(0) if len(answers) > 1 else answers[0]


@contextmanager
def aws(*of_s3: tuple[int, bytes], tls: ssl.SSLContext | None = None) -> Iterator[Aws]:
    answering = Aws()
    answering.answers = {
        "/v2/credentials": [(200, json.dumps(ROLE).encode())],
        URI.replace("s3:/", ""): list(of_s3),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answering.answer(self.path, {k.lower(): v for k, v in self.headers.items()})
            self.send_response(abs(status))
            self.send_header("Content-Length", str(len(body) + (10 if status < 0 else 0)))  # negative: cut off
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        answering.address = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
        yield answering
        server.shutdown()


def test_a_container_serves_what_its_role_may_read(tmp_path: Path) -> None:
    with aws((200, archive(write_model(tmp_path)))) as there:
        with running(tmp_path / "nothing", RLPIPE_MODEL_URI=URI, **there.environment) as server:
            assert server.invoke({"observation": [0.1, -0.2, 0.03, 1]}).status == 200
            assert server.invoke({"observation": [0.1, -0.2, 0.03, 1], "deterministic": False}).status in (200, 400)
        (_, for_keys), (_, for_archive) = there.asked
    assert for_keys["authorization"] == "let-me"
    assert for_archive["x-amz-security-token"] == "of-the-session"
    assert "Credential=ASIATASK/" in for_archive["authorization"]
    assert "/eu-central-1/s3/aws4_request" in for_archive["authorization"]


def test_a_container_whose_role_may_not_read_it_ends_and_says_so(tmp_path: Path) -> None:
    with aws((403, DENIED)) as there:
        process = start_process(tmp_path, RLPIPE_MODEL_URI=URI, **there.environment)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"Not serving. {URI} cannot be read: S3 answers 403 AccessDenied, Access Denied." in output
    assert "Traceback" not in output
    assert len(there.asked) == 2, "a refusal is not asked for again"


@pytest.mark.parametrize("first", [(503, b"<Error><Code>SlowDown</Code></Error>"), (-200, b"half")])
def test_s3_is_asked_again_while_it_is_busy_or_breaks_off(tmp_path: Path, first: tuple[int, bytes]) -> None:
    pauses: list[float] = []
    (tmp_path / "from").mkdir()
    whole = archive(write_model(tmp_path / "from"))
    with aws(first, first, (200, whole)) as there:
        fetch(URI, tmp_path / "to", there.environment, pause=pauses.append)
    assert pauses == [0.5, 1]
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == ["golden.json", "policy.json", "policy.onnx"]


def test_s3_is_not_asked_for_ever(tmp_path: Path) -> None:
    pauses: list[float] = []
    with aws((500, b"")) as there, pytest.raises(ModelError, match=r"model\.tar\.gz could not be read, 5 times"):
        fetch(URI, tmp_path, there.environment, pause=pauses.append)
    assert pauses == [0.5, 1, 2, 4]


@pytest.mark.parametrize("damage", [lambda whole: whole[:-40], lambda whole: b"<html>", lambda whole: whole[:99] * 2])
def test_a_damaged_archive_is_named(tmp_path: Path, damage: Any) -> None:
    (tmp_path / "from").mkdir()
    whole = archive(write_model(tmp_path / "from"))
    with aws((200, damage(whole))) as there, pytest.raises(ModelError, match=f"{URI} cannot be extracted"):
        fetch(URI, tmp_path / "to", there.environment)


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("../outside", tarfile.REGTYPE, "leads outside"),
        ("a/../../outside", tarfile.REGTYPE, "leads outside"),
        ("/outside", tarfile.REGTYPE, "leads outside"),
        ("link", tarfile.SYMTYPE, "neither a file nor a folder"),
        ("link", tarfile.LNKTYPE, "neither a file nor a folder"),
        ("device", tarfile.CHRTYPE, "neither a file nor a folder"),
    ],
)
def test_an_archive_writes_files_below_its_folder_and_nothing_else(
    tmp_path: Path, name: str, kind: bytes, reason: str
) -> None:
    packed, member = io.BytesIO(), tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/etc/passwd"
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.addfile(member)
    with (
        aws((200, packed.getvalue())) as there,
        pytest.raises(ModelError, match=f"{name} (is )?{reason}"),
    ):
        fetch(URI, tmp_path / "to", there.environment)
    assert list(tmp_path.rglob("*")) == [tmp_path / "to"]
    assert not Path("/outside").exists()


@pytest.mark.parametrize("key", ["runs/a-1/model.tar.gz", "a b/ü+~*'()=.gz", "per%20cent&more"])
@pytest.mark.parametrize("token", ["", "of-the-session"])
def test_requests_are_signed_as_botocore_signs_them(key: str, token: str) -> None:
    region, at = "ap-southeast-2", time.gmtime(1_700_000_000)
    url = fetching._url(f"s3://bucket/{key}", region, None)
    ours = signed(url, Keys(access="AKIA", secret="s/ecret", token=token), region=region, at=at)
    request = AWSRequest("GET", url, headers={"x-amz-content-sha256": ours["x-amz-content-sha256"]})
    with mock.patch("botocore.auth.get_current_datetime") as now:
        now.return_value.strftime = lambda form: time.strftime(form, at)
        S3SigV4Auth(Credentials("AKIA", "s/ecret", token or None), "s3", region).add_auth(request)
    signature = re.compile("Signature=([0-9a-f]{64})")
    theirs = dict(request.headers.items())["Authorization"]
    assert signature.findall(ours["authorization"]) == signature.findall(theirs)


@pytest.mark.parametrize(
    ("uri", "region", "endpoint", "url"),
    [
        ("s3://bucket/a b", "eu-west-1", None, "https://bucket.s3.eu-west-1.amazonaws.com/a%20b"),
        ("s3://with.dots/a", "eu-west-1", None, "https://s3.eu-west-1.amazonaws.com/with.dots/a"),
        ("s3://bucket/a", "cn-north-1", None, "https://bucket.s3.cn-north-1.amazonaws.com.cn/a"),
        ("s3://bucket/a", "eu-west-1", "http://127.0.0.1:4566/", "http://127.0.0.1:4566/bucket/a"),
    ],
)
def test_where_an_object_lies(uri: str, region: str, endpoint: str | None, url: str) -> None:
    assert fetching._url(uri, region, endpoint) == url


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "AWS_REGION is not set"),
        ({"AWS_REGION": "eu-west-1"}, "There are no keys to read the policy with"),
        (
            {"AWS_REGION": "eu-west-1", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://somewhere.example/keys"},
            "must be an https address, or one of",
        ),
        (
            {
                "AWS_REGION": "eu-west-1",
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/nowhere/token",
            },
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE cannot be read",
        ),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, environment: dict[str, str], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        fetch(URI, tmp_path, environment)


def test_who_hands_out_no_keys_is_named(tmp_path: Path) -> None:
    with aws() as there:
        there.answers["/v2/credentials"] = [(404, b"no such role")]
        with pytest.raises(ModelError, match=r"/v2/credentials answers 404 and no keys of a role"):
            fetch(URI, tmp_path, there.environment)


def test_an_s3_without_a_trusted_certificate_gets_no_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey ed25519 -nodes -days 1 -subj /CN=s3 -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    (tmp_path / "from").mkdir()
    with aws((200, archive(write_model(tmp_path / "from"))), tls=tls) as there:
        keys = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret"}
        with pytest.raises(ModelError, match="CERTIFICATE_VERIFY_FAILED"):
            fetch(URI, tmp_path / "to", {**there.environment, **keys}, pause=lambda _: None)
        assert there.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        fetch(URI, tmp_path / "to", {**there.environment, **keys})
        assert len(there.asked) == 1


def test_the_keys_in_the_variables_come_first(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    with aws((200, archive(write_model(tmp_path / "from")))) as there:
        given = {**there.environment, "AWS_ACCESS_KEY_ID": "AKIAGIVEN", "AWS_SECRET_ACCESS_KEY": "secret"}
        fetch(URI, tmp_path / "to", given)
    ((path, headers),) = there.asked
    assert path == URI.replace("s3:/", "")
    assert "Credential=AKIAGIVEN/" in headers["authorization"]
    assert "x-amz-security-token" not in headers


@pytest.mark.parametrize("uri", ["", "model.tar.gz", "s3://bucket", "s3://bucket/", "https://bucket/key", "s3:///key"])
def test_what_is_no_object_of_s3_is_a_wrong_setting(uri: str) -> None:
    with pytest.raises(SettingError, match="RLPIPE_MODEL_URI"):
        Settings.from_environment({"RLPIPE_MODEL_URI": uri})


def test_an_object_is_one_policy() -> None:
    with pytest.raises(SettingError, match="without SAGEMAKER_MULTI_MODEL"):
        Settings.from_environment({"RLPIPE_MODEL_URI": URI, "SAGEMAKER_MULTI_MODEL": "true"})


def test_the_task_definition_of_the_guide_is_one_that_ecs_takes_and_the_image_fits() -> None:
    text = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    definition = json.loads(text.partition("```json\n")[2].partition("```")[0])
    model = Session().get_service_model("ecs").operation_model("RegisterTaskDefinition").input_shape
    assert ParamValidator().validate(definition, model).generate_report() == ""
    (container,) = definition["containerDefinitions"]
    settings = Settings.from_environment({item["name"]: item["value"] for item in container["environment"]})
    assert settings.model_uri is not None
    assert settings.dimensions == {"Endpoint": definition["family"]}
    assert container["portMappings"] == [{"containerPort": settings.port}]
    checked = re.search(r"^HEALTHCHECK .* CMD (\[.*\])$", (ROOT / "serving_image" / "Dockerfile").read_text(), re.M)
    assert checked
    assert container["healthCheck"]["command"] == ["CMD", *json.loads(checked[1])]
    assert container["stopTimeout"] > STOP_SECONDS

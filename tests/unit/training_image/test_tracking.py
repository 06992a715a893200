"""What TensorBoard and MLflow are told of a training."""

import json
import struct
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from contract.layout import METRICS, TENSORBOARD
from tests.unit.training_image.helpers import Recorder, run, small_plan
from training_image.trainer.monitoring import tracking
from training_image.trainer.monitoring.tensorboard import crc32c
from training_image.trainer.monitoring.tracking import Tracking

# --- TensorBoard ------------------------------------------------------------------------------------------------------


def event_message() -> Any:
    """TensorBoard's Event, as far as scalars need it, by Google's own implementation of protocol buffers."""
    file = descriptor_pb2.FileDescriptorProto(name="event.proto", package="t", syntax="proto3")
    fields: dict[str, list[tuple[str, int, int, str, bool]]] = {
        "Value": [("tag", 1, 9, "", False), ("simple_value", 2, 2, "", False)],
        "Summary": [("value", 1, 11, ".t.Value", True)],
        "Event": [
            ("wall_time", 1, 1, "", False),
            ("step", 2, 3, "", False),
            ("file_version", 3, 9, "", False),
            ("summary", 5, 11, ".t.Summary", False),
        ],
    }
    for name, listed in fields.items():
        message = file.message_type.add(name=name)
        for field, number, kind, of, repeated in listed:
            added: Any = message.field.add(name=field, number=number)
            added.type, added.label = kind, 3 if repeated else 1
            if of:
                added.type_name = of
    pool: Any = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Event"))


def events(data: bytes) -> Iterator[Any]:
    """The events of a file, whose checksums are compared."""
    event = event_message()
    while data:
        (length, checksum), rest = struct.unpack("<QI", data[:12]), data[12:]
        for text, masked in (
            (data[:8], checksum),
            (rest[:length], struct.unpack("<I", rest[length : length + 4])[0]),
        ):
            crc = int(crc32c([text])[0])
            assert ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF == masked
        yield event.FromString(rest[:length])
        data = rest[length + 4 :]


def test_the_checksum_is_that_of_the_rfc() -> None:
    assert crc32c([b"123456789", bytes(32)]).tolist() == [0xE3069283, 0x8A9136AA]  # RFC 3720, B.4


def test_tensorboard_finds_every_line_of_the_metrics(tmp_path: Path) -> None:
    run(small_plan(), tmp_path, Recorder())
    lines = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    version, *found = events((tmp_path / TENSORBOARD).read_bytes())
    assert version.file_version == "brain.Event:2"
    assert [event.step for event in found] == [line["timesteps"] for line in lines]
    last = {value.tag: value.simple_value for value in found[-1].summary.value}
    assert last["rollout/mean_return"] == pytest.approx(lines[-1]["mean_return"])
    assert last["train/entropy"] == pytest.approx(lines[-1]["entropy"])
    assert len(last) == len(lines[-1]) - 1
    times = [event.wall_time for event in found]
    assert times == sorted(times)
    assert times[-1] - times[0] == pytest.approx(lines[-1]["seconds"] - lines[0]["seconds"], abs=1e-3)


# --- MLflow -----------------------------------------------------------------------------------------------------------


class Server(BaseHTTPRequestHandler):
    """As much of MLflow's REST API as a training uses, by its documentation."""

    experiments: ClassVar[dict[str, str]]
    runs: ClassVar[dict[str, dict[str, Any]]]
    headers_seen: ClassVar[list[dict[str, str]]]

    def do_GET(self) -> None:
        """GetExperimentByName."""
        [name] = parse_qs(urlsplit(self.path).query)["experiment_name"]
        if name in self.experiments:
            self._answer({"experiment": {"experiment_id": self.experiments[name]}})
        else:
            self._answer({"error_code": "RESOURCE_DOES_NOT_EXIST"}, status=404)

    def do_POST(self) -> None:
        """Everything else."""
        self.headers_seen.append(dict(self.headers))
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(getattr(self, "_" + self.path.rpartition("mlflow/")[2].replace("/", "_").replace("-", "_"))(body))

    def _experiments_create(self, body: dict[str, Any]) -> dict[str, Any]:
        self.experiments[body["name"]] = str(len(self.experiments) + 1)
        return {"experiment_id": self.experiments[body["name"]]}

    def _runs_create(self, body: dict[str, Any]) -> dict[str, Any]:
        run_id = f"r{len(self.runs)}"
        self.runs[run_id] = {**body, "metrics": [], "params": {}}
        return {"run": {"info": {"run_id": run_id}}}

    def _runs_search(self, body: dict[str, Any]) -> dict[str, Any]:
        found = [
            {"info": {"run_id": name}, "data": {"metrics": it["metrics"]}}
            for name, it in self.runs.items()
            if it["experiment_id"] in body["experiment_ids"]
            and body["filter"] == " and ".join(f"tags.`{tag['key']}` = '{tag['value']}'" for tag in it["tags"])
        ]
        return {"runs": found[: body["max_results"]]} if found else {}

    def _runs_log_batch(self, body: dict[str, Any]) -> dict[str, Any]:
        assert len(body.get("metrics", [])) <= 1000
        assert len(body.get("params", [])) <= 100
        self.runs[body["run_id"]]["metrics"] += body.get("metrics", [])
        self.runs[body["run_id"]]["params"] |= {it["key"]: it["value"] for it in body.get("params", [])}
        return {}

    def _runs_update(self, body: dict[str, Any]) -> dict[str, Any]:
        self.runs[body["run_id"]] |= body
        return {}

    def _answer(self, document: dict[str, Any], status: int = 200) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(document).encode())

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Server]]:
    served = type("Served", (Server,), {"experiments": {}, "runs": {}, "headers_seen": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), served)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv(tracking.URI_VARIABLE, f"http://127.0.0.1:{server.server_port}/")
    yield served
    server.shutdown()
    server.server_close()


def test_mlflow_is_told_everything_that_the_metrics_have(mlflow: type[Server], tmp_path: Path) -> None:
    run(small_plan(), tmp_path, Recorder())
    lines = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    [told] = mlflow.runs.values()
    assert told["status"] == "FINISHED"
    assert told["end_time"] >= told["start_time"]
    assert (told["params"]["environment"], told["params"]["algorithm"]) == ("CartPole-v0", "ppo")
    assert "learning_rate" in told["params"]
    returns = {it["step"]: it["value"] for it in told["metrics"] if it["key"] == "mean_return"}
    assert returns == {line["timesteps"]: line["mean_return"] for line in lines if "mean_return" in line}


def test_a_resumed_training_goes_on_in_its_own_run(mlflow: type[Server]) -> None:
    lines = [{"timesteps": step, "loss": 1.0} for step in (400, 800, 1200)]
    Tracking(small_plan(), print).tell(lines[:2], "KILLED")
    Tracking(small_plan(), print).tell(lines)
    [told] = mlflow.runs.values()
    assert [it["step"] for it in told["metrics"]] == [400, 800, 1200]
    assert told["status"] == "RUNNING"


def test_a_long_training_is_told_in_as_many_calls_as_it_takes(mlflow: type[Server]) -> None:
    Tracking(small_plan(), print).tell([{"timesteps": step, "loss": 1.0, "entropy": 0.5} for step in range(1200)])
    [told] = mlflow.runs.values()
    assert len(told["metrics"]) == 2400


def test_who_has_a_token_or_a_password_shows_it(mlflow: type[Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "engine")
    Tracking(small_plan(), print).tell([])
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    Tracking(small_plan(), print).tell([])
    shown = {it["Authorization"] for it in mlflow.headers_seen}
    assert shown == {"Basic YWRhOmVuZ2luZQ==", "Bearer secret"}


@pytest.mark.parametrize(("uri", "said"), [("http://127.0.0.1:9", "refused"), ("sqlite:///a.db", "expected http")])
def test_a_server_that_is_not_there_harms_no_training(uri: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tracking.URI_VARIABLE, uri)
    logged: list[str] = []
    told = Tracking(small_plan(), logged.append)
    told.tell([{"timesteps": 1, "loss": 1.0}])
    told.tell([{"timesteps": 2, "loss": 1.0}])
    [line] = logged
    assert said in line


def test_the_managed_server_is_asked_by_its_arn_with_a_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    arn = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-tracking-server/ours"
    server, sign = tracking._server(arn)
    assert server == "https://eu-west-1.experiments.sagemaker.aws"
    headers = sign("POST", f"{server}/api/2.0/mlflow/runs/create", b"{}", {"Content-Type": "application/json"})
    assert headers["x-mlflow-sm-tracking-server-arn"] == arn
    assert "/eu-west-1/sagemaker-mlflow/aws4_request" in headers["Authorization"]
    assert "x-mlflow-sm-tracking-server-arn" in headers["Authorization"]

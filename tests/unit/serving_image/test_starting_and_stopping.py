"""The container starts only when the policy answers as validated, and finishes what it has begun."""

import json
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from serving_image.model_folder import ModelError
from serving_image.proof import load
from serving_image.server import SettingError, Settings
from tests.unit.serving_image.conftest import running, start_process
from tests.unit.serving_image.models import CARTPOLE, FORCE, write_model


def _edit(folder: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads((folder / name).read_text())
    change(document)
    (folder / name).write_text(json.dumps(document))


def test_refuses_to_start_when_an_action_differs(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    _edit(folder, "golden.json", lambda golden: golden["actions"].__setitem__(1, 1 - golden["actions"][1]))
    process = start_process(folder)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Not serving. The policy does not answer as it did in validation: 1 of 3 actions" in output
    assert "the first at 1:" in output
    assert "Traceback" not in output


def test_wrong_port_is_a_usage_error(tmp_path: Path) -> None:
    process = start_process(tmp_path, SAGEMAKER_BIND_TO_PORT="eighty")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "SAGEMAKER_BIND_TO_PORT: a port" in output


@pytest.mark.parametrize(
    ("name", "value"),
    [("SAGEMAKER_MULTI_MODEL", "yes"), ("RLPIPE_METRICS_SECONDS", "0"), ("RLPIPE_METRICS_SECONDS", "often")],
)
def test_wrong_settings_are_named(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=name):
        Settings.from_environment({name: value})


def test_settings_have_sagemakers_defaults() -> None:
    settings = Settings.from_environment({})
    assert (settings.host, settings.port, settings.model_folder) == ("0.0.0.0", 8080, Path("/opt/ml/model"))
    for port in ("-1", "65536", "8080.0", "٣"):
        with pytest.raises(SettingError):
            Settings.from_environment({"SAGEMAKER_BIND_TO_PORT": port})


@pytest.mark.parametrize("name", ["policy.onnx", "policy.json", "golden.json"])
@pytest.mark.parametrize("content", [None, b"", b"\x00nonsense", b"[]", b"{}"])
def test_missing_or_malformed_file_is_named(tmp_path: Path, name: str, content: bytes | None) -> None:
    folder = write_model(tmp_path)
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        load(folder)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("policy.json", lambda d: d.update(format=2), "format 2"),
        ("policy.json", lambda d: d.pop("run_id"), "lacks run_id"),
        ("policy.json", lambda d: d["observation_space"].update(type="Tuple"), "observation_space.type must be one of"),
        ("policy.json", lambda d: d["observation_space"].update(type="Dict"), "observation_space.spaces must be"),
        ("policy.json", lambda d: d.update(noise="pink"), "noise must be one of normal, gumbel, logistic"),
        ("policy.json", lambda d: d["observation_space"].update(type="Discrete"), "observation_space lacks n"),
        ("policy.json", lambda d: d["observation_space"].update(shape="4"), "shape must be a list"),
        ("policy.json", lambda d: d["observation_space"].update(shape=[0]), "at least 1"),
        ("policy.json", lambda d: d["observation_space"].update(shape=[5]), r"takes tensor\(float\) of shape"),
        ("policy.json", lambda d: d["observation_space"].update(dtype="int64"), r"observations are tensor\(int64\)"),
        ("policy.json", lambda d: d["observation_space"].update(dtype="U8"), "dtype: a float or integer type"),
        ("policy.json", lambda d: d["observation_space"].update(dtype="cat"), "dtype: a NumPy type"),
        ("policy.json", lambda d: d.update(action_space=FORCE), "The graph answers int64 actions"),
        ("golden.json", lambda d: d.update(observations=[], actions=[]), "holds no observation"),
        ("golden.json", lambda d: d["actions"].pop(), "same length"),
        ("golden.json", lambda d: d["actions"].__setitem__(0, [0, 1]), "actions must be numbers of shape"),
        ("golden.json", lambda d: d["actions"].__setitem__(0, "left"), "actions must be numbers of shape"),
        ("golden.json", lambda d: d["observations"].__setitem__(2, [0]), r"observations\[2\]: a list of 4"),
    ],
)
def test_documents_that_cannot_be_right(
    tmp_path: Path, name: str, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    folder = write_model(tmp_path)
    _edit(folder, name, change)
    with pytest.raises(ModelError, match=message):
        load(folder)


def test_graph_with_other_names_or_a_fixed_batch_is_refused(tmp_path: Path) -> None:
    graph = onnx.load(write_model(tmp_path) / "policy.onnx")
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(graph, tmp_path / "policy.onnx")
    with pytest.raises(ModelError, match="'batch', 4"):
        load(tmp_path)
    output = helper.make_tensor_value_info("choice", onnx.TensorProto.INT64, ["batch"])
    node = helper.make_node("ArgMax", ["observation"], ["choice"], axis=1, keepdims=0)
    observation = helper.make_tensor_value_info("observation", onnx.TensorProto.FLOAT, ["batch", 4])
    other = helper.make_model(
        helper.make_graph([node], "p", [observation], [output]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(other, tmp_path / "policy.onnx")
    with pytest.raises(ModelError, match=r"to the output 'action', not .* to .*choice"):
        load(tmp_path)


def test_float_actions_may_differ_in_the_last_bits_only(tmp_path: Path) -> None:
    folder = write_model(tmp_path, observation_space=CARTPOLE, action_space=FORCE)
    _edit(folder, "golden.json", lambda golden: golden["actions"][0].__setitem__(0, golden["actions"][0][0] + 1e-6))
    assert load(folder)[1] == 3
    _edit(folder, "golden.json", lambda golden: golden["actions"][0].__setitem__(0, golden["actions"][0][0] + 1e-3))
    with pytest.raises(ModelError, match="1 of 3 actions"):
        load(folder)


def test_sigterm_finishes_the_request_that_has_begun(tmp_path: Path) -> None:
    body = b'{"observation": [0, 0, 0, 0]}'
    with running(write_model(tmp_path)) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            head = (
                f"POST /invocations HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            connection.sendall(head.encode())
            assert connection.recv(4096).startswith(b"HTTP/1.1 100 ")  # the request is being answered
            server.process.send_signal(signal.SIGTERM)
            _wait_until_nobody_listens(server.port)
            time.sleep(0.5)  # a slow caller; a server that only lingers for a moment would have gone
            connection.sendall(body)
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert server.process.wait(timeout=20) == 0


def _wait_until_nobody_listens(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return

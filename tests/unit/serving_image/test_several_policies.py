"""A container with several policies: in a folder each, or loaded by SageMaker's contract for multi-model endpoints."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving_image import models
from serving_image.model_folder import ModelError
from serving_image.models import Models, load_folder
from serving_image.refusals import RefusalError
from tests.unit.serving_image.conftest import Server, running
from tests.unit.serving_image.models import CARTPOLE, FORCE, TWO_ACTIONS, VALID, expected_actions, write_model


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("two")
    write_model(folder / "steering", run_id="steering-0")
    write_model(folder / "forces", run_id="forces-0", action_space=FORCE)
    with running(folder) as started:
        yield started


def test_policies_in_folders_are_called_by_their_names(two: Server) -> None:
    body = {"observations": VALID["box"]}
    reply = two.invoke(body, path="/models/steering/invoke")
    assert reply.document == {"actions": expected_actions(VALID["box"], CARTPOLE, TWO_ACTIONS)}
    reply = two.invoke(body, path="/models/forces/invoke")
    assert reply.document["actions"][0] == pytest.approx(expected_actions(VALID["box"], CARTPOLE, FORCE)[0], rel=1e-5)
    assert two.invoke({"observation": VALID["box"][0]}, path="/models/steering/invoke").status == 200


def test_which_policy_must_be_said(two: Server) -> None:
    reply = two.invoke({"observations": VALID["box"]})
    assert (reply.status, reply.error["field"]) == (404, "path")
    assert reply.error["expected"] == "/models/<name>/invoke, one of forces, steering"
    assert two.invoke({}, path="/models/other/invoke").status == 404


def test_they_are_listed_and_described(two: Server) -> None:
    listed = two.request("GET", "/models").document["models"]
    assert [(model["modelName"], model["runId"]) for model in listed] == [
        ("forces", "forces-0"),
        ("steering", "steering-0"),
    ]
    assert two.request("GET", "/models/forces").document["runId"] == "forces-0"
    assert two.request("GET", "/ping").document["models"] == {"forces": "forces-0", "steering": "steering-0"}


def test_nobody_loads_or_unloads_where_that_is_not_wanted(two: Server) -> None:
    assert two.request("POST", "/models", b'{"model_name": "a", "url": "/"}').status == 405
    assert two.request("DELETE", "/models/forces").status == 405
    assert two.request("GET", "/models/forces").status == 200


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[tuple[Server, Path]]:
    """A container that SageMaker loads policies into, and where it puts them."""
    root = tmp_path / "models"
    root.mkdir()
    with running(tmp_path, SAGEMAKER_MULTI_MODEL="true", RLPIPE_MODELS_ROOT=str(root)) as started:
        yield started, root


def test_policies_come_and_go_as_sagemaker_says(empty: tuple[Server, Path]) -> None:
    server, root = empty
    assert server.request("GET", "/ping").status == 200
    assert server.request("GET", "/models").document == {"models": []}
    url = str(write_model(root / "3f2a" / "model", run_id="first-0"))
    load = {"model_name": "3f2a", "url": url}
    assert server.invoke({"observation": VALID["box"][0]}, path="/models/3f2a/invoke").status == 404
    reply = server.invoke(load, path="/models")
    assert (reply.status, reply.document["modelUrl"]) == (200, url)
    reply = server.invoke({"observation": VALID["box"][0]}, path="/models/3f2a/invoke")
    assert reply.document == {"action": expected_actions(VALID["box"][:1], CARTPOLE, TWO_ACTIONS)[0]}
    assert server.invoke(load, path="/models").status == 409
    assert server.request("DELETE", "/models/3f2a").status == 200
    assert server.request("DELETE", "/models/3f2a").status == 404
    assert server.invoke(load, path="/models").status == 200


def test_a_policy_that_does_not_answer_as_validated_is_not_loaded(empty: tuple[Server, Path]) -> None:
    server, root = empty
    folder = write_model(root / "bad" / "model")
    golden = folder / "golden.json"
    golden.write_text(golden.read_text().replace('"actions": [', '"actions": [5, ').replace(", 0]}", "]}"))
    reply = server.invoke({"model_name": "bad", "url": str(folder)}, path="/models")
    assert (reply.status, reply.error["field"]) == (400, "url")
    assert server.request("GET", "/models").document == {"models": []}


def test_policies_are_loaded_from_their_folder_only(empty: tuple[Server, Path], tmp_path: Path) -> None:
    server, root = empty
    outside = write_model(tmp_path / "outside")
    (root / "link").symlink_to(outside)
    for url in (str(outside), str(root / ".." / "outside"), str(root / "link"), "/etc"):
        reply = server.invoke({"model_name": "sly", "url": url}, path="/models")
        assert (reply.status, reply.error["field"]) == (400, "url"), url
    for document in ({"model_name": "sly"}, {"url": str(root)}, {"model_name": 5, "url": "x"}, [], {"model_name": ""}):
        assert server.invoke(document, path="/models").status == 400


def test_others_are_answered_while_one_is_loaded_and_pipelined_requests_wait(empty: tuple[Server, Path]) -> None:
    server, root = empty
    url = str(write_model(root / "a" / "model"))
    body = b'{"model_name": "a", "url": "%b"}' % url.encode()
    load = b"POST /models HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    ask = b"GET /models/a HTTP/1.1\r\nHost: x\r\n\r\n"
    from tests.unit.serving_image.test_http import Caller

    with Caller(server.port, ("POST", "GET")) as caller:
        caller.send(load + ask)
        assert server.request("GET", "/ping").status == 200
        assert [status for status, _, _ in caller.answers(2)] == [200, 200], "loaded first, then asked for"


def test_pages_of_many_policies(two: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from serving_image.application import _page

    assert _page(b"/models?next_page_token=100&x=1", 150) == 100
    assert _page(b"/models", 150) == 0
    with pytest.raises(RefusalError):
        _page(b"/models?next_page_token=150", 150)
    assert two.request("GET", "/models?next_page_token=-1").status == 400


def test_beyond_so_many_sagemaker_is_told_to_unload_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "MAX_MODELS", 1)
    loaded = {name: policy for name, (policy, _) in load_folder(write_model(tmp_path / "one")).items()}
    with pytest.raises(RefusalError) as refusal:
        Models(loaded, tmp_path).folder_for("two", str(tmp_path / "two"))
    assert refusal.value.status == 507


def test_one_bad_policy_among_several_keeps_all_from_being_served(tmp_path: Path) -> None:
    write_model(tmp_path / "good")
    bad = write_model(tmp_path / "bad")
    (bad / "golden.json").unlink()
    with pytest.raises(ModelError, match=r"golden\.json is missing"):
        load_folder(tmp_path)
    shutil.rmtree(bad)
    assert set(load_folder(tmp_path)) == {"good"}

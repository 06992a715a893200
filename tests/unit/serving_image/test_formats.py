"""Observations as JSON, MessagePack and .npy, and answers in the form that a caller accepts."""

import io
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import ormsgpack
import pytest

from serving_image.formats import JSON, MSGPACK, NPY, of_answer
from serving_image.refusals import RefusalError
from tests.unit.serving_image.conftest import Reply, Server, running
from tests.unit.serving_image.models import (
    CARTPOLE,
    FORCE,
    OBSERVATION_SPACES,
    TWO_ACTIONS,
    VALID,
    expected_actions,
    write_model,
)

ACTIONS = expected_actions(VALID["box"], CARTPOLE, TWO_ACTIONS)


def npy(array: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def read_npy(body: bytes) -> Any:
    return np.load(io.BytesIO(body))


def send(server: Server, body: bytes, content_type: str, accept: str | None = None) -> Reply:
    headers = {"Content-Type": content_type} | ({"Accept": accept} if accept else {})
    return server.request("POST", "/invocations", body, headers)


@pytest.mark.parametrize("name", ["application/msgpack", "application/x-msgpack", "application/vnd.msgpack"])
def test_messagepack_is_asked_and_answered(server: Server, name: str) -> None:
    reply = send(server, ormsgpack.packb({"observation": VALID["box"][0]}), name)
    assert (reply.status, reply.headers["content-type"]) == (200, "application/msgpack")
    assert ormsgpack.unpackb(reply.body) == {"action": ACTIONS[0]}
    reply = send(server, ormsgpack.packb({"observations": VALID["box"]}), name)
    assert ormsgpack.unpackb(reply.body) == {"actions": ACTIONS}


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f4", "<f2"])
def test_arrays_are_asked_and_answered(server: Server, dtype: str) -> None:
    batch = np.array(VALID["box"], dtype=dtype)
    reply = send(server, npy(batch), "application/x-npy")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/x-npy")
    assert read_npy(reply.body).tolist() == ACTIONS
    assert read_npy(send(server, npy(batch[1]), "application/x-npy").body).tolist() == ACTIONS[1]
    assert read_npy(send(server, npy(np.asfortranarray(batch)), "application/x-npy").body).tolist() == ACTIONS


def test_an_array_of_every_plain_space_is_taken(other_space: tuple[str, Server]) -> None:
    name, server = other_space
    if name == "dict":
        reply = send(server, npy(np.zeros(4)), "application/x-npy")
        assert (reply.status, reply.error["field"]) == (400, "body")
        assert "several parts" in reply.error["expected"]
        return
    array = np.array(VALID[name], dtype=OBSERVATION_SPACES[name]["dtype"])
    actions = expected_actions(VALID[name], OBSERVATION_SPACES[name], TWO_ACTIONS)
    assert read_npy(send(server, npy(array), "application/x-npy").body).tolist() == actions
    reply = send(server, npy(array.astype(np.float32)), "application/x-npy")
    assert (reply.status, reply.error["expected"]) == (400, "whole numbers")
    if name != "image":  # of which every byte is one
        reply = send(server, npy(array + 100), "application/x-npy")
        assert (reply.status, reply.error["field"].partition("[")[0]) == (400, "body")


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("application/json", JSON),
        ("application/x-npy", NPY),
        ("application/msgpack;q=0.9, application/json;q=0.1", MSGPACK),
        ("text/html, */*;q=0.5", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
    ],
)
def test_the_answer_comes_in_the_form_that_is_accepted(server: Server, accept: str, content_type: str) -> None:
    body = json.dumps({"observations": VALID["box"]}).encode()
    reply = send(server, body, "application/json", accept)
    assert (reply.status, reply.headers["content-type"]) == (200, content_type)
    read: dict[str, Any] = {
        JSON: lambda body: json.loads(body)["actions"],
        MSGPACK: lambda body: ormsgpack.unpackb(body)["actions"],
        NPY: lambda body: read_npy(body).tolist(),
    }
    assert read[content_type](reply.body) == ACTIONS


def test_single_actions_come_in_every_form(server: Server) -> None:
    body = json.dumps({"observation": VALID["box"][0]}).encode()
    for _ in range(2):  # the second time from what is kept ready
        assert send(server, body, "application/json").document == {"action": ACTIONS[0]}
        assert ormsgpack.unpackb(send(server, body, "application/json", MSGPACK).body) == {"action": ACTIONS[0]}
        assert read_npy(send(server, body, "application/json", NPY).body) == ACTIONS[0]


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "application/json;q=x", "", ",;,"])
def test_what_cannot_be_accepted_is_refused(accept: str) -> None:
    with pytest.raises(RefusalError) as refusal:
        of_answer(accept.encode(), JSON)
    assert refusal.value.status == 406


HUGE = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 4), }".ljust(117)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x09\x00v\x00{}",
        b"nonsense",
        npy(np.zeros(4))[:-1],
        npy(np.zeros(4)) + b"x",
        HUGE + b"\n",
        npy(np.array([{}]), allow_pickle=True),
        npy(np.zeros((0, 4))),
        npy(np.zeros(3)),
        npy(np.zeros((2, 2, 4))),
        npy(np.zeros((1025, 4))),
        npy(np.zeros(4, dtype=np.complex64)),
        npy(np.zeros(4, dtype=bool)),
        npy(np.array([0, 0, 0, math.nan])),
        npy(np.array([0, 0, -math.inf, 0])),
        npy(np.array([0, 0, 1e300, 0])),
        npy(np.array(["a", "b", "c", "d"])),
        npy(np.zeros(4, dtype=[("a", "f4")])),
    ],
)
def test_what_is_no_array_of_observations_is_refused(server: Server, body: bytes) -> None:
    reply = send(server, body, "application/x-npy")
    assert reply.status == 400, reply.body
    assert reply.error["field"].startswith("body")


def test_the_first_wrong_element_of_an_array_is_named(server: Server) -> None:
    array = np.zeros((3, 4))
    array[1, 2] = math.nan
    reply = send(server, npy(array), "application/x-npy")
    assert (reply.error["field"], reply.error["given"]) == ("body[1][2]", "nan")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e39, None, True, "0", b"0", [0]])
@pytest.mark.parametrize("place", [0, 3])
def test_messagepack_can_say_more_than_json_and_none_of_it_passes(server: Server, value: Any, place: int) -> None:
    observation: list[Any] = [0.0, 0.0, 0.0, 0.0]
    observation[place] = value
    reply = send(server, ormsgpack.packb({"observation": observation}), MSGPACK)
    assert (reply.status, reply.error["field"]) == (400, f"observation[{place}]")


@pytest.mark.parametrize(
    "body", [b"", b"\xc1", b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"\xd4\x01\x02", b"\x01\x02"]
)
def test_what_is_no_messagepack_is_refused(server: Server, body: bytes) -> None:
    reply = send(server, body, MSGPACK)
    assert (reply.status, reply.error["field"]) == (400, "body")


@pytest.fixture(scope="module")
def forces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(write_model(tmp_path_factory.mktemp("forces"), action_space=FORCE)) as started:
        yield started


def test_float_actions_are_the_same_numbers_in_every_form(forces: Server) -> None:
    expected = np.array(expected_actions(VALID["box"], CARTPOLE, FORCE), dtype=np.float32)
    body = json.dumps({"observations": VALID["box"]}).encode()
    single = json.dumps({"observation": VALID["box"][0]}).encode()
    as_json = np.array(send(forces, body, JSON).document["actions"], dtype=np.float32)
    as_msgpack = np.array(ormsgpack.unpackb(send(forces, body, JSON, MSGPACK).body)["actions"], dtype=np.float32)
    as_npy = read_npy(send(forces, body, JSON, NPY).body)
    np.testing.assert_allclose(as_json, expected, rtol=1e-5)
    np.testing.assert_array_equal(as_json, as_msgpack)
    np.testing.assert_array_equal(as_json, as_npy)
    assert as_npy.dtype == np.float32
    np.testing.assert_allclose(read_npy(send(forces, single, JSON, NPY).body), as_npy[0], rtol=1e-6)


def test_an_overflow_is_refused_in_every_form(forces: Server) -> None:
    array = np.array([3e38, 3e38, -3e38, 3e38])
    for body, form in ((npy(array), NPY), (ormsgpack.packb({"observation": array.tolist()}), MSGPACK)):
        reply = send(forces, body, form)
        assert reply.status == 400
        assert "not finite" in reply.error["given"]

"""What the container answers to good requests, over real HTTP."""

import http.client
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving_image.observations import Observations
from serving_image.policy import ServedPolicy
from tests.unit.serving_image.conftest import JSON, Server, running
from tests.unit.serving_image.models import (
    CARTPOLE,
    FORCE,
    OBSERVATION_SPACES,
    TWO_ACTIONS,
    VALID,
    expected_actions,
    write_model,
)


def test_ping_says_which_run_serves(server: Server) -> None:
    reply = server.request("GET", "/ping")
    assert (reply.status, reply.document["run_id"]) == (200, "tiny-000000000000")


def test_single_observation_answers_one_action(server: Server) -> None:
    observation = VALID["box"][0]
    reply = server.invoke({"observation": observation})
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.document == {"action": expected_actions([observation], CARTPOLE, TWO_ACTIONS)[0]}


def test_batch_answers_an_action_for_each_in_order(server: Server) -> None:
    numbers = random.Random(0)
    batch = [[numbers.uniform(-2, 2) for _ in range(4)] for _ in range(1024)]
    reply = server.invoke({"observations": batch})
    actions = expected_actions(batch, CARTPOLE, TWO_ACTIONS)
    assert set(actions) == {0, 1}
    assert reply.document == {"actions": actions}


@pytest.mark.parametrize("name", [name for name in OBSERVATION_SPACES if name != "dict"])
@pytest.mark.parametrize(("actions", "noise"), [(TWO_ACTIONS, None), (TWO_ACTIONS, "gumbel"), (FORCE, "normal")])
def test_who_asks_one_at_a_time_gets_what_all_together_would(
    tmp_path: Path, name: str, actions: dict[str, Any], noise: str | None
) -> None:
    """The room for one is used again and again."""
    space = OBSERVATION_SPACES[name]
    spaces = {"observation_space": space, "action_space": actions}
    policy = ServedPolicy(write_model(tmp_path, **spaces, observations=VALID[name], noise=noise))
    observations = Observations(space).read(VALID[name] * 3, single=False)
    together = policy.act_on(observations)
    apart = [policy.act_on(observations[index : index + 1]).copy() for index in range(len(observations))]
    assert np.allclose(np.concatenate(apart), together, rtol=1e-5)
    assert {answer.dtype for answer in apart} == {together.dtype}
    assert actions is TWO_ACTIONS or len(np.unique(together, axis=0)) == len(VALID[name]), "each is answered otherwise"


def test_every_observation_space_is_served(other_space: tuple[str, Server]) -> None:
    name, server = other_space
    actions = expected_actions(VALID[name], OBSERVATION_SPACES[name], TWO_ACTIONS)
    assert server.invoke({"observations": VALID[name]}).document == {"actions": actions}
    assert server.invoke({"observation": VALID[name][1]}).document == {"action": actions[1]}


def test_box_actions_are_lists_of_floats(tmp_path: Path) -> None:
    folder = write_model(tmp_path, action_space=FORCE)
    with running(folder) as server:
        single = server.invoke({"observation": VALID["box"][0]}).document["action"]
        assert single == pytest.approx(expected_actions(VALID["box"], CARTPOLE, FORCE)[0], rel=1e-5)
        assert len(server.invoke({"observations": VALID["box"]}).document["actions"]) == 3
        # A finite observation on which the network overflows has no action; JSON would quietly say null.
        reply = server.invoke({"observation": [3e38, 3e38, -3e38, 3e38]})
        assert reply.status == 400
        assert "not finite" in reply.error["given"]


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_json_content_types_are_taken(server: Server, content_type: str) -> None:
    body = json.dumps({"observation": [0, 0, 0, 0]}).encode()
    assert server.request("POST", "/invocations", body, {"Content-Type": content_type}).status == 200


def test_connection_is_kept_open_and_pieces_are_put_together(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    for _ in range(3):
        pieces = iter([b'{"observa', b'tion": [0.1, ', b"-0.2, 0.03, 1]}"])
        connection.request("POST", "/invocations", pieces, JSON, encode_chunked=True)
        response = connection.getresponse()
        assert (response.status, response.will_close) == (200, False)
        assert json.loads(response.read()) == {"action": expected_actions(VALID["box"][:1], CARTPOLE, TWO_ACTIONS)[0]}
    connection.close()

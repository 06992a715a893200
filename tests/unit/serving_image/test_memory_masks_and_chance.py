"""Policies that need more than an observation, or may draw their action."""

import base64
import collections
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving_image.model_folder import ModelError
from serving_image.proof import load
from tests.unit.serving_image.conftest import Server, running
from tests.unit.serving_image.models import CARTPOLE, FORCE, ROBOT, TWO_ACTIONS, VALID, expected_actions, write_model

GOOD = [0.1, -0.2, 0.03, 1]


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A policy with a memory, whose actions are what it remembers."""
    with running(write_model(tmp_path_factory.mktemp("memory"), action_space=FORCE, remembers=True)) as started:
        yield started


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(write_model(tmp_path_factory.mktemp("masked"), masked=True)) as started:
        yield started


@pytest.fixture(scope="module")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(write_model(tmp_path_factory.mktemp("drawing"), noise="gumbel")) as started:
        yield started


def test_a_state_that_is_given_back_is_remembered(forgetful: Server) -> None:
    [step] = expected_actions([GOOD], CARTPOLE, FORCE)
    state, remembered = None, np.zeros(2)
    for _ in range(3):
        answer = forgetful.invoke({"observation": GOOD, "state": state}).document
        remembered = remembered / 2 + step
        np.testing.assert_allclose(answer["action"], remembered, rtol=1e-5)
        state = answer["state"]
        assert isinstance(state, str)
    again = forgetful.invoke({"observation": GOOD}).document
    np.testing.assert_allclose(again["action"], step, rtol=1e-5)


def test_a_batch_has_a_state_each(forgetful: Server) -> None:
    first = forgetful.invoke({"observations": VALID["box"]}).document
    assert len(first["states"]) == len(VALID["box"])
    states = [first["states"][0], None, first["states"][2]]
    batch = forgetful.invoke({"observations": VALID["box"], "states": states}).document
    for index, state in enumerate(states):
        alone = forgetful.invoke({"observation": VALID["box"][index], "state": state}).document
        np.testing.assert_allclose(batch["actions"][index], alone["action"], rtol=1e-6)


@pytest.mark.parametrize(
    ("state", "status", "given"),
    [
        ("", 400, "''"),
        (5, 400, "5"),
        ("not base64!", 400, "not base64"),
        (base64.b64encode(b"x" * 15).decode(), 400, ""),
        (base64.b64encode(b"x" * 16).decode(), 409, "the state of another policy"),
    ],
)
def test_a_state_that_is_none_is_refused(forgetful: Server, state: Any, status: int, given: str) -> None:
    reply = forgetful.invoke({"observation": GOOD, "state": state})
    assert (reply.status, reply.error["field"]) == (status, "state")
    assert given in reply.error["given"]
    batch = forgetful.invoke({"observations": [GOOD, GOOD], "states": [None, state]})
    assert (batch.status, batch.error["field"]) == (status, "states[1]")


def test_a_state_with_numbers_that_are_none_is_refused(forgetful: Server) -> None:
    state = base64.b64decode(forgetful.invoke({"observation": GOOD}).document["state"])
    broken = base64.b64encode(state[:-4] + b"\x00\x00\xc0\x7f").decode()
    reply = forgetful.invoke({"observation": GOOD, "state": broken})
    assert (reply.status, reply.error["given"]) == (400, "numbers that are not finite")


def test_as_many_states_as_observations(forgetful: Server) -> None:
    reply = forgetful.invoke({"observations": [GOOD, GOOD], "states": [None]})
    assert (reply.status, reply.error["expected"]) == (400, "a list of 2, as of observations")


def test_the_best_valid_action_is_taken(masked: Server) -> None:
    best = expected_actions([GOOD], CARTPOLE, TWO_ACTIONS)[0]
    for mask in ([True, True], [False, True], [True, False]):
        answer = masked.invoke({"observation": GOOD, "action_mask": mask}).document
        assert answer == {"action": best if mask[best] else 1 - best}
    batch = masked.invoke({"observations": [GOOD, GOOD], "action_masks": [[True, False], [False, True]]}).document
    assert batch == {"actions": [0, 1]}


@pytest.mark.parametrize(
    ("mask", "given"),
    [
        ("nothing", "nothing"),
        ([True], "a list of 1"),
        ([True, 1], "a list of 2"),
        ([False, False], "no valid one"),
        ("11", "'11'"),
    ],
)
def test_a_policy_that_is_told_the_valid_actions_must_be_told(masked: Server, mask: Any, given: str) -> None:
    said = {} if mask == "nothing" else {"action_mask": mask}
    reply = masked.invoke({"observation": GOOD, **said})
    assert (reply.status, reply.error["field"], reply.error["given"]) == (400, "action_mask", given)
    if said:
        reply = masked.invoke({"observations": [GOOD, GOOD], "action_masks": [[True, True], mask]})
        assert (reply.status, reply.error["field"], reply.error["given"]) == (400, "action_masks[1]", given)


@pytest.mark.parametrize("key", ["action_mask", "state", "action_masks"])
def test_a_policy_takes_only_what_it_needs(server: Server, key: str) -> None:
    reply = server.invoke({"observation": GOOD, key: None})
    assert (reply.status, reply.error["given"]) == (400, f"the key {key!r}")


def test_the_same_seed_draws_the_same_actions(drawing: Server) -> None:
    document = {"observations": [GOOD] * 200, "deterministic": False, "seed": 7}
    actions = drawing.invoke(document).document["actions"]
    assert set(actions) == {0, 1}
    assert drawing.invoke(document).document["actions"] == actions
    assert drawing.invoke(document | {"seed": 8}).document["actions"] != actions
    alone = {"observation": GOOD, "deterministic": False, "seed": 7}
    assert drawing.invoke(alone).document == {"action": actions[0]}


def test_actions_are_drawn_by_the_policys_distribution(drawing: Server) -> None:
    [scores] = expected_actions([GOOD], CARTPOLE, FORCE)
    wanted = np.exp(scores) / np.exp(scores).sum()
    counts: collections.Counter[int] = collections.Counter()
    for seed in range(10):
        counts.update(
            drawing.invoke({"observations": [GOOD] * 1000, "deterministic": False, "seed": seed}).document["actions"]
        )
    assert counts[1] / 10_000 == pytest.approx(wanted[1], abs=4 * np.sqrt(wanted[0] * wanted[1] / 10_000))


def test_without_a_seed_each_request_draws_anew(drawing: Server) -> None:
    document = {"observations": [GOOD] * 200, "deterministic": False}
    assert drawing.invoke(document).document != drawing.invoke(document).document


def test_deterministic_is_the_best_action_as_if_nothing_had_been_said(drawing: Server) -> None:
    best = expected_actions(VALID["box"], CARTPOLE, TWO_ACTIONS)
    assert drawing.invoke({"observations": VALID["box"], "deterministic": True}).document == {"actions": best}
    assert drawing.invoke({"observations": VALID["box"]}).document == {"actions": best}


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"deterministic": "no"}, "deterministic"),
        ({"deterministic": 0}, "deterministic"),
        ({"seed": 1}, "seed"),
        ({"deterministic": True, "seed": 1}, "seed"),
        ({"deterministic": False, "seed": -1}, "seed"),
        ({"deterministic": False, "seed": 2**63}, "seed"),
        ({"deterministic": False, "seed": True}, "seed"),
        ({"deterministic": False, "seed": 1.5}, "seed"),
    ],
)
def test_wrong_wishes_about_chance_are_refused(drawing: Server, more: dict[str, Any], field: str) -> None:
    reply = drawing.invoke({"observation": GOOD, **more})
    assert (reply.status, reply.error["field"]) == (400, field)


def test_a_policy_without_a_distribution_says_so(server: Server) -> None:
    reply = server.invoke({"observation": GOOD, "deterministic": False})
    assert (reply.status, reply.error["field"]) == (400, "deterministic")
    assert "ppo learns an action, and no distribution" in reply.error["expected"]


def test_all_of_it_together(tmp_path: Path) -> None:
    folder = write_model(
        tmp_path, observation_space=ROBOT, observations=VALID["dict"], masked=True, remembers=True, noise="gumbel"
    )
    with running(folder) as server:
        document = {
            "observation": VALID["dict"][0],
            "action_mask": [True, False],
            "deterministic": False,
            "state": None,
        }
        answer = server.invoke(document).document
        assert answer["action"] == 0
        again = server.invoke(document | {"state": answer["state"], "seed": 5}).document
        assert again["state"] != answer["state"]


def test_a_masked_policy_without_masks_in_its_golden_file_is_not_served(tmp_path: Path) -> None:
    folder = write_model(tmp_path, masked=True)
    golden = folder / "golden.json"
    golden.write_text(golden.read_text().replace("action_masks", "masks"))
    with pytest.raises(ModelError, match="action_masks must be a list"):
        load(folder)

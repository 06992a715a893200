"""What a request asks of a policy, read from its document, and the document that answers it."""

import base64
import binascii
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.policy import OBSERVATION_INPUT
from serving_image.formats import KEYS, NPY, write_array, write_document
from serving_image.observations import Observations
from serving_image.policy import Answer, Question, ServedPolicy
from serving_image.refusals import RefusalError, describe

MAX_BATCH = 1024
"""Observations in one request; a batch holds up every other caller while it is computed."""

MOST_BODIES = 1024
"""Answers that a policy with few actions keeps ready."""

MAX_SEED = 2**63 - 1


def of_document(policy: ServedPolicy, document: Any) -> Question:
    """The question in a request's document.

    Raises:
        RefusalError: naming the first field that is wrong.
    """
    if not isinstance(document, dict):
        raise RefusalError(400, field="body", given=describe(document), expected=KEYS)
    if ("observation" in document) == ("observations" in document):
        given = f"the keys {', '.join(map(str, document))}" if document else "an empty object"
        raise RefusalError(400, field="body", given=given[:80], expected=f"exactly one of two keys, {KEYS}")
    if "observations" in document:
        return several(policy, document)
    alone = {name: [document[name]] for name in _ONE_EACH if name in document}
    return _question(policy, {**document, **alone}, single=True)


def several(policy: ServedPolicy, document: dict[str, Any]) -> Question:
    """The question in a document with several `observations`."""
    values = document["observations"]
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_BATCH:
        expected = f"a list of 1 to {MAX_BATCH} observations"
        raise RefusalError(400, field="observations", given=describe(values), expected=expected)
    return _question(policy, document, single=False)


def of_array(policy: ServedPolicy, array: NDArray[Any]) -> Question:
    """The question in a body that is an array: observations, and nothing else."""
    reader = policy.plain
    if reader is None:
        given = "an array, which can hold nothing but one kind of numbers"
        raise RefusalError(
            400, field="body", given=given, expected=f"a document in JSON or MessagePack: {_wanted(policy)}"
        )
    observations, single = reader.from_array(array)
    if len(observations) > MAX_BATCH:
        raise RefusalError(
            400, field="body", given=f"{len(observations)} observations", expected=f"at most {MAX_BATCH}"
        )
    return Question(inputs={OBSERVATION_INPUT: observations}, count=len(observations), single=single)


def answer_document(policy: ServedPolicy, question: Question, answer: Answer) -> dict[str, Any]:
    """What is said to a caller."""
    # Whole numbers are shorter as a list; an array of float32 is written as short as it reads back.
    actions = answer.actions if answer.actions.dtype.kind == "f" else answer.actions.tolist()
    states = None if answer.states is None else [_written_state(policy, state) for state in answer.states]
    if question.single:
        return {"action": actions[0]} if states is None else {"action": actions[0], "state": states[0]}
    return {"actions": actions} if states is None else {"actions": actions, "states": states}


def action_body(policy: ServedPolicy, form: str, action: Any) -> bytes | None:
    """What is said to a caller that asked for one action; None when it is not finite.

    :param action: a number or list of numbers, or an array of floats.
    """
    if type(action) is int:
        known = policy.bodies.get((form, action))
        if known is not None:
            return known
    elif type(action) is not list and not np.isfinite(action).all():
        return None
    if form == NPY:
        body = write_array(np.asarray(action, dtype=policy.action_dtype))
    else:
        body = write_document(form, {"action": action})
    if type(action) is int and len(policy.bodies) < MOST_BODIES:
        policy.bodies[form, action] = body
    return body


_ONE_EACH = {"observation": "observations", "action_mask": "action_masks", "state": "states"}
"""Fields that have a value for each observation, by their names where there is one."""


def _question(policy: ServedPolicy, document: dict[str, Any], *, single: bool) -> Question:
    """`document` has a list for each field that has a value for each observation."""

    def named(several_name: str) -> str:
        return next(one for one, many in _ONE_EACH.items() if many == several_name) if single else several_name

    fields = {named("observations"), "deterministic", "seed"}
    fields |= {named("action_masks")} if policy.choices else set()
    fields |= {named("states")} if policy.memory else set()
    if unknown := [name for name in document if name not in fields]:
        given = f"the key {describe(unknown[0])}"
        raise RefusalError(400, field="body", given=given, expected=f"of this policy only {', '.join(sorted(fields))}")
    values = document[named("observations")]
    inputs = _observations(policy, values, single)
    count = len(values)
    masks = _masks(policy, document.get(named("action_masks")), named("action_masks"), count, single)
    states = _states(policy, document.get(named("states")), named("states"), count, single)
    noise = _noise(policy, document, count)
    return Question(inputs=inputs, count=count, single=single, masks=masks, states=states, noise=noise)


def _observations(policy: ServedPolicy, values: list[Any], single: bool) -> dict[str, NDArray[Any]]:
    if OBSERVATION_INPUT in policy.parts:
        return {OBSERVATION_INPUT: policy.parts[OBSERVATION_INPUT].read(values, single=single)}
    parts: dict[str, Observations] = {
        name.removeprefix(f"{OBSERVATION_INPUT}."): reader for name, reader in policy.parts.items()
    }
    for index, value in enumerate(values):
        if not isinstance(value, dict) or value.keys() != parts.keys():
            given = f"the keys {', '.join(map(str, value))}"[:80] if isinstance(value, dict) else describe(value)
            name = "observation" if single else f"observations[{index}]"
            raise RefusalError(400, field=name, given=given, expected=f"an object with exactly {', '.join(parts)}")
    return {
        f"{OBSERVATION_INPUT}.{key}": reader.read([value[key] for value in values], single=single, part=f".{key}")
        for key, reader in parts.items()
    }


def _masks(
    policy: ServedPolicy, given: list[Any] | None, name: str, count: int, single: bool
) -> NDArray[np.bool_] | None:
    if not policy.choices:
        return None
    expected = f"which of its {policy.choices} choices are valid, as a list of true and false"
    if given is None:
        raise RefusalError(400, field=name, given="nothing", expected=expected if single else f"{expected}, for each")
    _check_count(given, name, count)
    for index, mask in enumerate(given):
        field = name if single else f"{name}[{index}]"
        if not isinstance(mask, list) or len(mask) != policy.choices or set(map(type, mask)) != {bool}:
            raise RefusalError(400, field=field, given=describe(mask), expected=expected)
        if not any(mask):
            raise RefusalError(400, field=field, given="no valid one", expected="at least one that is true")
    return np.array(given, dtype=np.bool_)


def _states(
    policy: ServedPolicy, given: list[Any] | None, name: str, count: int, single: bool
) -> NDArray[np.float32] | None:
    if not policy.memory:
        return None
    states = np.zeros((count, policy.memory), dtype=np.float32)
    if given is not None:
        _check_count(given, name, count)
        for index, state in enumerate(given):
            if state is not None:
                states[index] = _read_state(policy, state, name if single else f"{name}[{index}]")
    return states


def _check_count(given: Any, name: str, count: int) -> None:
    if not isinstance(given, list) or len(given) != count:
        raise RefusalError(400, field=name, given=describe(given), expected=f"a list of {count}, as of observations")


def _written_state(policy: ServedPolicy, state: NDArray[np.float32]) -> str:
    return base64.b64encode(policy.fingerprint + state.astype("<f4").tobytes()).decode()


def _read_state(policy: ServedPolicy, text: Any, field: str) -> NDArray[np.float32]:
    expected = "the state of the answer before, as it was given, or null when an episode begins"
    try:
        content = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        content = b""
    if len(content) != len(policy.fingerprint) + 4 * policy.memory:
        raise RefusalError(400, field=field, given=describe(text), expected=expected)
    if not content.startswith(policy.fingerprint):
        given = "the state of another policy"
        raise RefusalError(409, field=field, given=given, expected=f"one of {policy.run_id}, or null to begin anew")
    state = np.frombuffer(content, "<f4", offset=len(policy.fingerprint))
    if not np.isfinite(state).all():
        raise RefusalError(400, field=field, given="numbers that are not finite", expected=expected)
    return state


def _noise(policy: ServedPolicy, document: dict[str, Any], count: int) -> NDArray[np.float32] | None:
    """What makes the best action one that is drawn; None where the best is wanted."""
    deterministic, seed = document.get("deterministic", True), document.get("seed")
    if not isinstance(deterministic, bool):
        raise RefusalError(400, field="deterministic", given=describe(deterministic), expected="true or false")
    if seed is not None and (deterministic or type(seed) is not int or not 0 <= seed <= MAX_SEED):
        expected = f"with deterministic false, a whole number from 0 to {MAX_SEED}"
        raise RefusalError(400, field="seed", given=describe(seed), expected=expected)
    if deterministic:
        return None
    if policy.noise is None:
        expected = f"true: {policy.document['algorithm']} learns an action, and no distribution to draw it from"
        raise RefusalError(400, field="deterministic", given="false", expected=expected)
    generator = np.random.default_rng(seed)
    draw: dict[str, Any] = {
        "normal": generator.standard_normal,
        "gumbel": generator.gumbel,
        "logistic": generator.logistic,
    }
    noise: NDArray[np.float32] = draw[policy.noise](size=(count, policy.noise_size)).astype(np.float32)
    return noise


def _wanted(policy: ServedPolicy) -> str:
    if policy.memory:
        return "this policy has a memory, which the answer gives and the next request returns"
    if policy.choices:
        return "this policy must be told the valid actions"
    return "an observation of several parts"

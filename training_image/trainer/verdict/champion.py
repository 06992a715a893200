"""The policy that serves at a run's endpoint, to be played against."""

import json
from dataclasses import dataclass

from contract.layout import RunLayout, champion_key
from contract.policy import POLICY_DOCUMENT, POLICY_GRAPH, ObservationSpace, Policy, Space
from contract.run import ResolvedRun
from contract.verdict import Rule
from training_image.trainer.policies import archive
from training_image.trainer.policies.served import ServedPolicy
from training_image.trainer.storage import Storage, open_storage

_WAY_OUT = "set validation.compare_to_champion to false to deploy without the comparison"
_FORM = ("type", "shape", "dtype", "n", "start", "nvec")
"""What callers of an endpoint see of a space. Bounds of a Box are left out: the endpoint holds nobody to them."""


@dataclass(frozen=True, kw_only=True)
class Champion:
    """Who serves."""

    run_id: str
    endpoint: str
    policy: ServedPolicy


@dataclass(frozen=True, kw_only=True)
class Incomparable:
    """A champion that a run cannot be compared with, and why."""

    rule: Rule
    reason: str


def find(run: ResolvedRun, storage: Storage, spaces: tuple[ObservationSpace, Space]) -> Champion | Incomparable | None:
    """The champion of the run's endpoint; None where there is none, or the run does not ask for it.

    Args:
        storage: the run's prefix, as it lies in the artifacts bucket. What lies elsewhere has no champion.
        spaces: the run's observation and action space. The champion may come from another environment with the same
            ones: then it plays in this run's.
    """
    deploy = run.specification.deploy
    prefix = f"/{RunLayout(run_id=run.run_id).prefix}"
    if deploy.target == "none" or not run.specification.validation.compare_to_champion or deploy.endpoint is None:
        return None
    if not storage.uri.endswith(prefix):
        return None
    artifacts = open_storage(storage.uri.removesuffix(prefix))
    content = artifacts.read(champion_key(deploy.endpoint))
    if content is None:
        return None
    run_id = str(json.loads(content)["run_id"])
    who = f"the champion of {deploy.endpoint} ({run_id})"
    key = RunLayout(run_id=run_id).model_archive
    packed = artifacts.read(key)
    if packed is None:
        return Incomparable(rule="champion missing", reason=f"{who} is not at {key} any more; {_WAY_OUT}")
    try:
        files = archive.unpack(packed)
        document: Policy = json.loads(files[POLICY_DOCUMENT])
        policy = ServedPolicy(files[POLICY_GRAPH])
    except Exception as error:  # ONNX Runtime raises a class of its own for each of its status codes
        return Incomparable(rule="champion missing", reason=f"{who} cannot be read from {key} ({error!r}); {_WAY_OUT}")
    for name, own, its in zip(
        ("observations", "actions"), spaces, (document["observation_space"], document["action_space"]), strict=True
    ):
        if _form(own) != _form(its):
            return Incomparable(
                rule="champion differs",
                reason=f"{who} comes from {document['environment']['id']} with {name} {_form(its)}, this policy from "
                f"{run.specification.environment.id} with {_form(own)}, and who calls the endpoint would be refused; "
                f"choose another deploy.endpoint, or {_WAY_OUT}",
            )
    return Champion(run_id=run_id, endpoint=deploy.endpoint, policy=policy)


def by_log(champion: Champion | Incomparable | None) -> Champion | Incomparable | None:
    """The same champion, as far as logged observations can tell: they have no memory, and no valid actions."""
    if isinstance(champion, Champion) and (champion.policy.memory or champion.policy.choices):
        needs = "remembers an episode" if champion.policy.memory else "must be told which actions are valid"
        who = f"the champion of {champion.endpoint} ({champion.run_id})"
        return Incomparable(rule="champion differs", reason=f"{who} {needs}, which a log does not show; {_WAY_OUT}")
    return champion


def _form(space: ObservationSpace) -> dict[str, object]:
    if space["type"] == "Dict":
        return {key: _form(part) for key, part in space["spaces"].items()}
    return {key: space[key] for key in _FORM if key in space}  # type: ignore[literal-required]

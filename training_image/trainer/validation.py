"""Validation of a run: choose the best seed, judge it on episodes nobody has seen, pack what is served."""

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from contract.events import Validated
from contract.layout import (
    EVALUATIONS,
    GOLDEN,
    METRICS,
    MODEL,
    MODEL_ARCHIVE,
    REPORT,
    TRAINING_SUMMARY,
    VERDICT,
    seed_folder,
)
from contract.policy import GOLDEN_DOCUMENT, POLICY_DOCUMENT, POLICY_GRAPH, Golden, Policy
from contract.run import ResolvedRun
from contract.verdict import Verdict
from training_image.trainer import archive, judging, model
from training_image.trainer.errors import UsageError
from training_image.trainer.evaluation import HELD_OUT_SEEDS, Episodes, play
from training_image.trainer.export import to_onnx
from training_image.trainer.model import TrainedPolicy
from training_image.trainer.reporting import Reporter
from training_image.trainer.served import ServedPolicy, prove_equal
from training_image.trainer.storage import Storage

CHOOSING_SEEDS = HELD_OUT_SEEDS
JUDGING_SEEDS = HELD_OUT_SEEDS + 2**24
"""The seeds that choose a policy do not judge it: the best of several looks better on them than it is."""

GOLDEN_OBSERVATIONS = 32


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    seed: int
    policy: TrainedPolicy
    mean_return: float


def validate(run: ResolvedRun, storage: Storage, reporter: Reporter) -> Verdict:
    """Judge a run whose seeds are trained, and write the verdict, the report and model.tar.gz beside its run.json.

    Raises:
        UsageError: when a seed's policy is missing.
        TrainingError: when the exported policy does not act as the trained one.
    """
    rules = run.specification.validation
    if rules.min_return is None:
        raise UsageError("validation.min_return: a resolved run must have one")
    candidates = [_candidate(run, storage, seed) for seed in run.specification.seeds]
    best = max(candidates, key=lambda candidate: candidate.mean_return)
    episodes = _play(run, best.policy, JUDGING_SEEDS)
    if len(candidates) == 1:  # it was not compared with any, so it played nothing yet
        candidates = [
            best := _Candidate(seed=best.seed, policy=best.policy, mean_return=float(episodes.returns.mean()))
        ]
    onnx = to_onnx(best.policy.graph, best.policy.observation_space)
    served = ServedPolicy(onnx)
    proven = prove_equal(served, best.policy.graph, best.policy.observation_space, episodes.observations)
    verdict = judging.judge(
        episodes.returns,
        episodes.lengths,
        seed=best.seed,
        min_return=rules.min_return,
        confidence=rules.confidence,
        onnx_observations=proven,
        candidates={str(candidate.seed): candidate.mean_return for candidate in candidates},
    )
    golden = _json(_golden(served, episodes))
    packed = {POLICY_GRAPH: onnx, POLICY_DOCUMENT: _json(_policy(run, best.policy, verdict)), GOLDEN_DOCUMENT: golden}
    storage.write(MODEL_ARCHIVE, archive.pack(packed))
    storage.write(GOLDEN, golden)
    storage.write(REPORT, _report(run, storage, verdict, episodes, best.policy).encode())
    storage.write(VERDICT, verdict.model_dump_json(indent=1).encode())
    reporter.report(
        Validated(
            event="validated",
            passed=verdict.passed,
            mean_return=verdict.mean_return,
            lower_bound=verdict.lower_bound,
            reason=verdict.reason,
        )
    )
    return verdict


def _candidate(run: ResolvedRun, storage: Storage, seed: int) -> _Candidate:
    policy = model.read(storage.below(f"{seed_folder(seed)}/{MODEL}"))
    if len(run.specification.seeds) == 1:
        return _Candidate(seed=seed, policy=policy, mean_return=math.nan)
    return _Candidate(seed=seed, policy=policy, mean_return=float(_play(run, policy, CHOOSING_SEEDS).returns.mean()))


def _play(run: ResolvedRun, policy: TrainedPolicy, seeds: int) -> Episodes:
    environment = run.specification.environment
    episodes = run.specification.validation.episodes
    return play(policy.graph, environment.id, dict(environment.kwargs), episodes=episodes, seed=seeds)


def _golden(served: ServedPolicy, episodes: Episodes) -> Golden:
    """Observations spread over the episodes, and what the exported policy does there."""
    chosen = np.linspace(0, len(episodes.observations) - 1, GOLDEN_OBSERVATIONS).round().astype(int)
    observations = episodes.observations[chosen]
    return Golden(observations=observations.tolist(), actions=served.act(observations).tolist())


def _policy(run: ResolvedRun, policy: TrainedPolicy, verdict: Verdict) -> Policy:
    document = policy.document
    return Policy(
        format=1,
        run_id=run.run_id,
        algorithm=document["algorithm"],
        environment=document["environment"],
        observation_space=document["observation_space"],
        action_space=document["action_space"],
        versions=document["versions"],
        verdict=verdict.model_dump(),
    )


def _report(run: ResolvedRun, storage: Storage, verdict: Verdict, episodes: Episodes, policy: TrainedPolicy) -> str:
    from training_image.trainer.report.page import render

    seeds = {seed: storage.below(seed_folder(seed)) for seed in run.specification.seeds}
    return render(
        run,
        verdict,
        returns={"this policy": episodes.returns.tolist()},
        metrics={seed: _lines(folder.read(METRICS)) for seed, folder in seeds.items()},
        evaluations={seed: _lines(folder.read(EVALUATIONS)) for seed, folder in seeds.items()},
        summaries={seed: json.loads(folder.read(TRAINING_SUMMARY) or b"{}") for seed, folder in seeds.items()},
        document=policy.document,
    )


def _lines(document: bytes | None) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (document or b"").splitlines()]


def _json(document: Any) -> bytes:
    return json.dumps(document, indent=1).encode()

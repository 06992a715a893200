"""Validation of a run: choose the best seed, judge it on episodes nobody has seen, pack what is served."""

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from contract.dataset import Dataset
from contract.episodes import CHAMPION, EpisodesDocument, EpisodeSet, PolicyEpisodes
from contract.events import Validated
from contract.layout import (
    DATASET,
    EPISODES,
    EVALUATIONS,
    GOLDEN,
    HELD_OUT_DATA,
    METRICS,
    MODEL,
    MODEL_ARCHIVE,
    REPORT,
    TRAINING_SUMMARY,
    VERDICT,
    seed_folder,
    video_file,
)
from contract.policy import GOLDEN_DOCUMENT, POLICY_DOCUMENT, POLICY_GRAPH, Golden, ObservationSpace, Policy, Space
from contract.run import ResolvedRun
from contract.verdict import Comparison, OffPolicy, Verdict
from training_image.trainer import archive, baselines, input_statistics, judging, model, off_policy, spaces
from training_image.trainer import observations as batches
from training_image.trainer.champion import Champion, Incomparable
from training_image.trainer.champion import find as find_champion
from training_image.trainer.errors import UsageError
from training_image.trainer.evaluation import HELD_OUT_SEEDS, Episodes, play
from training_image.trainer.export import to_onnx
from training_image.trainer.model import TrainedPolicy
from training_image.trainer.reporting import Reporter
from training_image.trainer.served import ServedPolicy, prove_equal, some_masks
from training_image.trainer.storage import Storage

if TYPE_CHECKING:
    from training_image.trainer.rendering import Film

GOLDEN_OBSERVATIONS = 32

MOST_EPISODES = 2**14
"""Seeds set apart for a run's episodes; the contract allows 10,000."""
_BLOCKS = 2**16


def choosing_seeds(run_id: str) -> int:
    """First seed of the episodes that choose one of several policies.

    Every run has episodes of its own: who was promoted for doing well on some is not measured on these again.
    """
    block = int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:8]) % _BLOCKS
    return HELD_OUT_SEEDS + 2 * MOST_EPISODES * block


def judging_seeds(run_id: str) -> int:
    """First seed of the episodes that judge the chosen policy: the best of several looks better than it is on those
    that chose it."""
    return choosing_seeds(run_id) + MOST_EPISODES


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    seed: int
    policy: TrainedPolicy
    onnx: bytes
    served: ServedPolicy


def validate(run: ResolvedRun, storage: Storage, reporter: Reporter) -> Verdict:
    """Judge a run whose seeds are trained, and write the verdict, the report and model.tar.gz beside its run.json.

    What plays is the exported policy, as it will be served; that it acts as the trained one is proven besides.

    Raises:
        UsageError: when a seed's policy is missing.
        TrainingError: when the exported policy does not act as the trained one.
    """
    rules = run.specification.validation
    min_return = _min_return(run)
    candidates = {seed: _candidate(storage, seed) for seed in run.specification.seeds}
    champion = find_champion(run, storage, _spaces(next(iter(candidates.values())).policy))
    opponent = champion if isinstance(champion, Champion) else None
    chosen, choosing = _choose(run, candidates, opponent)
    judging_set = _play_all(run, {str(chosen.seed): chosen.served}, opponent, judging_seeds(run.run_id), record=True)
    episodes = judging_set[str(chosen.seed)]
    space = chosen.policy.observation_space
    proven = prove_equal(chosen.served, chosen.policy.graph, space, episodes.observations)
    means = {name: float(played.returns.mean()) for name, played in choosing.items() if name != CHAMPION}
    verdict = judging.judge(
        episodes,
        seed=chosen.seed,
        min_return=min_return,
        confidence=rules.confidence,
        onnx_observations=proven,
        candidates=means or {str(chosen.seed): float(episodes.returns.mean())},
        champion=_beside(run, opponent, judging_set, episodes) if opponent else None,
        incomparable=(champion.rule, champion.reason) if isinstance(champion, Incomparable) else None,
        across=judging.across_seeds([choosing[name].returns for name in means], rules.confidence) if means else None,
    )
    beside = baselines.beside(
        episodes, run.specification.environment, seed=judging_seeds(run.run_id), confidence=rules.confidence
    )
    if beside:
        reason = verdict.reason + baselines.sentence(beside)
        verdict = verdict.model_copy(update={"baselines": beside, "reason": reason})
    if found := _off_policy(run, storage, chosen):
        reason = verdict.reason + off_policy.sentence(found)
        verdict = verdict.model_copy(update={"off_policy": found, "reason": reason})
    golden = _json(_golden(chosen.served, episodes))
    document = _json(_policy(run, chosen.policy, verdict, episodes))
    packed = {POLICY_GRAPH: chosen.onnx, POLICY_DOCUMENT: document, GOLDEN_DOCUMENT: golden}
    storage.write(MODEL_ARCHIVE, archive.pack(packed))
    storage.write(GOLDEN, golden)
    storage.write(EPISODES, _compact(_episodes(run, verdict, choosing, judging_set)))
    films, no_film = _films(run, chosen.served, episodes)
    for film in films:
        storage.write(video_file(film.name), film.content)
    report = _report(run, storage, verdict, judging_set, chosen.policy, films=films, no_film=no_film)
    storage.write(REPORT, report.encode())
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


def _min_return(run: ResolvedRun) -> float:
    min_return = run.specification.validation.min_return
    if min_return is None:
        raise UsageError("validation.min_return: a resolved run must have one")
    return min_return


def _candidate(storage: Storage, seed: int) -> _Candidate:
    policy = model.read(storage.below(f"{seed_folder(seed)}/{MODEL}"))
    onnx = to_onnx(policy.graph, policy.observation_space)
    return _Candidate(seed=seed, policy=policy, onnx=onnx, served=ServedPolicy(onnx))


def _spaces(policy: TrainedPolicy) -> tuple[ObservationSpace, Space]:
    return policy.document["observation_space"], policy.document["action_space"]


def _choose(
    run: ResolvedRun, candidates: dict[int, _Candidate], opponent: Champion | None
) -> tuple[_Candidate, dict[str, Episodes]]:
    """The candidate with the highest mean return, and what all of them played: nothing where there is only one."""
    if len(candidates) == 1:
        return next(iter(candidates.values())), {}
    policies = {str(seed): candidate.served for seed, candidate in candidates.items()}
    played = _play_all(run, policies, opponent, choosing_seeds(run.run_id), record=False)
    return max(candidates.values(), key=lambda candidate: played[str(candidate.seed)].returns.mean()), played


def _play_all(
    run: ResolvedRun, policies: dict[str, ServedPolicy], opponent: Champion | None, seed: int, *, record: bool
) -> dict[str, Episodes]:
    """The policies and the champion on the same episodes. Only the policies' observations are recorded."""
    environment, count = run.specification.environment, run.specification.validation.episodes
    playing = policies | ({CHAMPION: opponent.policy} if opponent else {})
    return {
        name: play(
            policy,
            environment,
            episodes=count,
            seed=seed,
            record=record and name != CHAMPION,
        )
        for name, policy in playing.items()
    }


def _beside(run: ResolvedRun, opponent: Champion, played: dict[str, Episodes], episodes: Episodes) -> Comparison:
    rules = run.specification.validation
    return judging.compare(
        episodes,
        played[CHAMPION],
        run_id=opponent.run_id,
        endpoint=opponent.endpoint,
        confidence=rules.confidence,
        min_return=_min_return(run),
        margin=rules.margin,
    )


def _off_policy(run: ResolvedRun, storage: Storage, chosen: _Candidate) -> OffPolicy | None:
    """What the held-out part of a log says of the policy, where the run learns from one."""
    data, document = run.specification.data, chosen.policy.document
    if data is None or data.kind != "transitions":
        return None
    return off_policy.held_out(
        chosen.served,
        storage.below(HELD_OUT_DATA),
        chosen.policy.observation_space,
        spaces.build(document["action_space"]),
        gamma=document["hyperparameters"]["gamma"],
        confidence=run.specification.validation.confidence,
    )


def _episodes(
    run: ResolvedRun, verdict: Verdict, choosing: dict[str, Episodes], judging_set: dict[str, Episodes]
) -> EpisodesDocument:
    def of(played: dict[str, Episodes], first_seed: int) -> EpisodeSet:
        policies = {
            name: PolicyEpisodes(
                returns=episodes.returns.tolist(),
                lengths=episodes.lengths.tolist(),
                truncated=episodes.truncated.tolist(),
                failed=judging.failures(episodes, verdict.min_return).tolist(),
            )
            for name, episodes in played.items()
        }
        return EpisodeSet(first_seed=first_seed, policies=policies)

    return EpisodesDocument(
        format=1,
        run_id=run.run_id,
        environment=run.specification.environment.id,
        min_return=verdict.min_return,
        chosen=str(verdict.seed),
        choosing=of(choosing, choosing_seeds(run.run_id)) if choosing else None,
        judging=of(judging_set, judging_seeds(run.run_id)),
    )


def _golden(served: ServedPolicy, episodes: Episodes) -> Golden:
    """Observations spread over the episodes, and what the exported policy does there."""
    last = batches.size(episodes.observations) - 1
    chosen = np.linspace(0, last, GOLDEN_OBSERVATIONS).round().astype(int)
    observations = batches.take(episodes.observations, chosen)
    masks = some_masks(served.choices, GOLDEN_OBSERVATIONS) if served.choices else None
    actions, _ = served.answer(observations, masks=masks)
    golden = Golden(observations=batches.rows(observations), actions=actions.tolist())
    if masks is not None:
        golden["action_masks"] = masks.tolist()
    return golden


def _policy(run: ResolvedRun, policy: TrainedPolicy, verdict: Verdict, episodes: Episodes) -> Policy:
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
        noise=policy.graph.noise,
        statistics=input_statistics.describe(episodes.observations),
    )


def _films(run: ResolvedRun, policy: ServedPolicy, episodes: Episodes) -> "tuple[list[Film], str]":
    from training_image.trainer.rendering import films

    return films(policy, run.specification.environment, played=episodes, seed=judging_seeds(run.run_id))


def _report(
    run: ResolvedRun,
    storage: Storage,
    verdict: Verdict,
    played: dict[str, Episodes],
    policy: TrainedPolicy,
    *,
    films: "list[Film]",
    no_film: str,
) -> str:
    from training_image.trainer.report.page import render

    seeds = {seed: storage.below(seed_folder(seed)) for seed in run.specification.seeds}
    return render(
        run,
        verdict,
        returns={
            CHAMPION if name == CHAMPION else "this policy": episodes.returns.tolist()
            for name, episodes in played.items()
        },
        metrics={seed: _lines(folder.read(METRICS)) for seed, folder in seeds.items()},
        evaluations={seed: _lines(folder.read(EVALUATIONS)) for seed, folder in seeds.items()},
        films=films,
        no_film=no_film,
        dataset=Dataset.model_validate_json(data) if (data := storage.read(DATASET)) else None,
        summaries={seed: json.loads(folder.read(TRAINING_SUMMARY) or b"{}") for seed, folder in seeds.items()},
        document=policy.document,
    )


def _lines(document: bytes | None) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (document or b"").splitlines()]


def _json(document: Any) -> bytes:
    return json.dumps(document, indent=1).encode()


def _compact(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()

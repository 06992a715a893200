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
    TRAINING_DATA,
    TRAINING_SUMMARY,
    VERDICT,
    seed_folder,
    video_file,
)
from contract.policy import GOLDEN_DOCUMENT, POLICY_DOCUMENT, POLICY_GRAPH, Golden, ObservationSpace, Policy, Space
from contract.run import ResolvedRun
from contract.verdict import Comparison, OffPolicy, Verdict
from training_image.trainer.envs import observations as batches
from training_image.trainer.envs import spaces
from training_image.trainer.envs.observations import Batch
from training_image.trainer.errors import UsageError
from training_image.trainer.learning import logged
from training_image.trainer.monitoring.reporting import Reporter
from training_image.trainer.policies import archive, input_statistics, model
from training_image.trainer.policies.evaluation import HELD_OUT_SEEDS, Episodes, play
from training_image.trainer.policies.export import to_onnx
from training_image.trainer.policies.model import TrainedPolicy
from training_image.trainer.policies.served import ServedPolicy, prove_equal, some_masks
from training_image.trainer.storage import Storage
from training_image.trainer.verdict import baselines, judging, judging_by_log, off_policy
from training_image.trainer.verdict.champion import Champion, Incomparable, by_log
from training_image.trainer.verdict.champion import find as find_champion

if TYPE_CHECKING:
    from training_image.trainer.report.rendering import Film

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


@dataclass(frozen=True, kw_only=True)
class _Judged:
    chosen: _Candidate
    verdict: Verdict
    observations: Batch
    """Those that the policy met, or that were logged."""
    returns: dict[str, list[float]]
    """Of the judging episodes, by who played them, the chosen policy first."""
    episodes: EpisodesDocument | None
    films: "list[Film]"
    no_film: str


def validate(run: ResolvedRun, storage: Storage, reporter: Reporter) -> Verdict:
    """Judge a run whose seeds are trained, and write the verdict, the report and model.tar.gz beside its run.json.

    What plays, or where there is no simulator is valued by the log, is the exported policy, as it will be served; that
    it acts as the trained one is proven besides.

    Raises:
        UsageError: when a seed's policy is missing.
        TrainingError: when the exported policy does not act as the trained one.
    """
    candidates = {seed: _candidate(storage, seed) for seed in run.specification.seeds}
    champion = find_champion(run, storage, _spaces(next(iter(candidates.values())).policy))
    judge = _by_playing if run.specification.environment.is_simulated else _by_log
    judged = judge(run, storage, candidates, champion)
    chosen, verdict = judged.chosen, judged.verdict
    golden = _json(_golden(chosen.served, judged.observations))
    document = _json(_policy(run, chosen.policy, verdict, judged.observations))
    packed = {POLICY_GRAPH: chosen.onnx, POLICY_DOCUMENT: document, GOLDEN_DOCUMENT: golden}
    storage.write(MODEL_ARCHIVE, archive.pack(packed))
    storage.write(GOLDEN, golden)
    if judged.episodes:
        storage.write(EPISODES, _compact(judged.episodes))
    for film in judged.films:
        storage.write(video_file(film.name), film.content)
    storage.write(REPORT, _report(run, storage, judged).encode())
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


def _by_playing(
    run: ResolvedRun,
    storage: Storage,
    candidates: dict[int, _Candidate],
    champion: Champion | Incomparable | None,
) -> _Judged:
    """Let the policies play."""
    rules = run.specification.validation
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
        min_return=_min_return(run),
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
    films, no_film = _films(run, chosen.served, episodes)
    return _Judged(
        chosen=chosen,
        verdict=verdict,
        observations=episodes.observations,
        returns={
            CHAMPION if name == CHAMPION else "this policy": played.returns.tolist()
            for name, played in judging_set.items()
        },
        episodes=_episodes(run, verdict, choosing, judging_set),
        films=films,
        no_film=no_film,
    )


def _by_log(
    run: ResolvedRun,
    storage: Storage,
    candidates: dict[int, _Candidate],
    champion: Champion | Incomparable | None,
) -> _Judged:
    """Estimate what the policies would earn, where there is nothing to play in. The part of the log that was trained on
    chooses one of several, the held-out part judges it."""
    policy = next(iter(candidates.values())).policy
    gamma, space = policy.document["hyperparameters"]["gamma"], policy.observation_space

    def estimator(part: str) -> off_policy.Estimator:
        action_space = spaces.build(policy.document["action_space"])
        log = logged.read(storage.below(part).uri, space, action_space)
        if not off_policy.can_tell(log):
            raise UsageError(f"data: too few episodes are in {part}, or it is never known what came next")
        return off_policy.Estimator(log, space, action_space, gamma=gamma)

    means: dict[int, float] = {}
    if len(candidates) > 1:
        training = estimator(TRAINING_DATA)
        means = {seed: training.of(candidate.served).estimate for seed, candidate in candidates.items()}
    chosen = candidates[max(means, key=means.__getitem__)] if means else next(iter(candidates.values()))
    held_out = estimator(HELD_OUT_DATA)
    observations = batches.as_input(held_out.log.observations, space)
    verdict = judging_by_log.judge(
        held_out,
        chosen.served,
        seed=chosen.seed,
        rules=run.specification.validation,
        onnx_observations=prove_equal(chosen.served, chosen.policy.graph, space, observations),
        candidates={str(seed): mean for seed, mean in means.items()},
        champion=by_log(champion),
    )
    no_film = "there is no simulator, only a log, so no episode can be played."
    return _Judged(
        chosen=chosen,
        verdict=verdict,
        observations=observations,
        returns={},
        episodes=None,
        films=[],
        no_film=no_film,
    )


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


def _golden(served: ServedPolicy, met: Batch) -> Golden:
    """Observations spread over all that were met, and what the exported policy does there."""
    last = batches.size(met) - 1
    chosen = np.linspace(0, last, GOLDEN_OBSERVATIONS).round().astype(int)
    observations = batches.take(met, chosen)
    masks = some_masks(served.choices, GOLDEN_OBSERVATIONS) if served.choices else None
    actions, _ = served.answer(observations, masks=masks)
    golden = Golden(observations=batches.rows(observations), actions=actions.tolist())
    if masks is not None:
        golden["action_masks"] = masks.tolist()
    return golden


def _policy(run: ResolvedRun, policy: TrainedPolicy, verdict: Verdict, met: Batch) -> Policy:
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
        statistics=input_statistics.describe(met),
    )


def _films(run: ResolvedRun, policy: ServedPolicy, episodes: Episodes) -> "tuple[list[Film], str]":
    from training_image.trainer.report.rendering import films

    return films(policy, run.specification.environment, played=episodes, seed=judging_seeds(run.run_id))


def _report(run: ResolvedRun, storage: Storage, judged: _Judged) -> str:
    from training_image.trainer.report.page import render

    seeds = {seed: storage.below(seed_folder(seed)) for seed in run.specification.seeds}
    return render(
        run,
        judged.verdict,
        returns=judged.returns,
        metrics={seed: _lines(folder.read(METRICS)) for seed, folder in seeds.items()},
        evaluations={seed: _lines(folder.read(EVALUATIONS)) for seed, folder in seeds.items()},
        films=judged.films,
        no_film=judged.no_film,
        dataset=Dataset.model_validate_json(data) if (data := storage.read(DATASET)) else None,
        summaries={seed: json.loads(folder.read(TRAINING_SUMMARY) or b"{}") for seed, folder in seeds.items()},
        document=judged.chosen.policy.document,
    )


def _lines(document: bytes | None) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (document or b"").splitlines()]


def _json(document: Any) -> bytes:
    return json.dumps(document, indent=1).encode()


def _compact(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()

"""Judge a trained policy on episodes it has never seen.

By hand:         python training_image/validate_rl.py --model DIR --episodes 100
In a container:  python training_image/validate_rl.py --run s3://bucket/runs/<id>
"""

import sys
from pathlib import Path

if not __package__:
    # Run as a script: packages are imported from the repository's root, and never from this folder.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import json
from typing import TYPE_CHECKING, Any

from contract.dataset import MIN_JUDGING_EPISODES
from contract.events import Ended
from contract.layout import HELD_OUT_DATA, MODEL
from contract.policy import POLICY_GRAPH
from contract.run import EnvironmentSection
from training_image.trainer import (
    imports,
    threads,  # noqa: F401 - before numpy and torch
)
from training_image.trainer.command import guarded, leave
from training_image.trainer.envs import tables
from training_image.trainer.errors import UsageError
from training_image.trainer.monitoring.reporting import EventReporter, LineReporter
from training_image.trainer.plan import read_run
from training_image.trainer.storage import Storage, open_storage

if TYPE_CHECKING:
    from contract.verdict import OffPolicy
    from training_image.trainer.learning.logged import Log
    from training_image.trainer.policies.model import TrainedPolicy

CONFIDENCE = 0.95


def main(arguments: list[str] | None = None) -> int:
    """Validate as the command line says; returns the exit code, which is 0 whether or not the policy passed."""
    options = _parse(arguments)
    return _in_container(options.run) if options.run else _by_hand(options)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="validate_rl.py", description="Judge a trained policy.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--model", metavar="DIR", help="what train_rl.py wrote: its --output, or the model folder in it"
    )
    source.add_argument("--run", metavar="URI", help="prefix of a prepared run whose seeds are trained")
    parser.add_argument("--episodes", type=int, metavar="N", help="held-out episodes, by hand (default 100)")
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="what prepare_data.py wrote of a log, by hand: its held-out part says too what the policy is worth",
    )
    parser.add_argument("--render", choices=["human", "video"], help="show an episode, or write it beside the policy")
    parser.add_argument("--json", action="store_true", help="print a JSON summary on stdout, all else on stderr")
    options = parser.parse_args(arguments)
    if options.run and (options.episodes is not None or options.json or options.render or options.data):
        parser.error("--run takes everything from run.json, so neither --episodes nor --data nor --render nor --json")
    if options.episodes is not None and options.episodes < 2:
        parser.error(f"--episodes {options.episodes}: at least 2")
    return options


def _in_container(uri: str) -> int:
    reporter = EventReporter()

    def work() -> str:
        storage = open_storage(uri)
        run = tables.bound(read_run(storage), storage, HELD_OUT_DATA)
        with imports.without_collection():
            from training_image.trainer.verdict.validation import validate

        return validate(run, storage, reporter).reason

    exit_code, reason, verdict = guarded(work, reporter)
    reporter.report(Ended(event="ended", exit_code=exit_code, reason=verdict or reason))
    return exit_code


def _by_hand(options: argparse.Namespace) -> int:
    reporter = LineReporter(sys.stderr if options.json else sys.stdout)
    exit_code, reason, summary = guarded(
        lambda: _evaluate(Path(options.model), options.episodes, options.render, options.data), reporter
    )
    if summary:
        reporter.log(_said(summary))
        for said in (summary["beside"], summary["from_log"]):
            if said:
                reporter.log(said)
        if summary["video"]:
            reporter.log(f"An episode to look at: {summary['video']}")
    else:
        reporter.log(f"Error: {reason}")
    if options.json:
        sys.stdout.write(json.dumps({**(summary or {"reason": reason}), "exit_code": int(exit_code)}) + "\n")
    return exit_code


def _said(summary: dict[str, Any]) -> str:
    if not summary["episodes"]:
        return f"There is no simulator, so no episode was played; {summary['checked']}."
    return (
        f"{summary['environment']}: mean return {summary['mean_return']:.6g} over {summary['episodes']} held-out "
        f"episodes (at least {summary['lower_bound']:.6g} with {100 * CONFIDENCE:g} % confidence), "
        f"from {summary['min_episode_return']:g} to {summary['max_episode_return']:g}; {summary['checked']}."
    )


def _evaluate(folder: Path, episodes: int | None, render: str | None, data: str | None) -> dict[str, Any]:
    with imports.without_collection():
        from training_image.trainer.policies import model
        from training_image.trainer.policies.evaluation import HELD_OUT_SEEDS, play
        from training_image.trainer.policies.served import ServedPolicy, prove_equal
        from training_image.trainer.verdict import baselines, off_policy
        from training_image.trainer.verdict.judging import interquartile_mean, lower_bound

    if not folder.is_dir():
        raise UsageError(f"--model {folder}: there is no such folder")
    storage = open_storage(str(folder / MODEL if (folder / MODEL).is_dir() else folder))
    trained = model.read(storage)
    if not EnvironmentSection.model_validate(trained.document["environment"]).is_simulated:
        return _estimate(trained, storage, episodes=episodes, render=render, data=data)
    episodes = episodes or 100
    environment = tables.held_out(EnvironmentSection.model_validate(trained.document["environment"]))
    played = play(trained.graph, environment, episodes=episodes, seed=HELD_OUT_SEEDS)
    others = baselines.beside(played, environment, seed=HELD_OUT_SEEDS, confidence=CONFIDENCE)
    estimated = _from_log(trained, data)[0] if data else None
    onnx = storage.read(POLICY_GRAPH)
    proven = 0
    if onnx is not None:
        proven = prove_equal(ServedPolicy(onnx), trained.graph, trained.observation_space, played.observations)
    video = None
    if render:
        from training_image.trainer.report import rendering

        if render == "human":
            rendering.show(trained.graph, environment)
        else:
            video = str(rendering.film(trained.graph, environment, Path(storage.uri)))
    return {
        "environment": environment.id,
        "algorithm": trained.document["algorithm"],
        "seed": trained.document["seed"],
        "episodes": episodes,
        "mean_return": float(played.returns.mean()),
        "std_return": float(played.returns.std()),
        "min_episode_return": float(played.returns.min()),
        "max_episode_return": float(played.returns.max()),
        "iqm_return": float(interquartile_mean(played.returns)),
        "mean_length": float(played.lengths.mean()),
        "lower_bound": lower_bound(played.returns, CONFIDENCE),
        "confidence": CONFIDENCE,
        "onnx_observations": proven,
        "checked": _checked(proven, onnx),
        "video": video,
        "baselines": others.model_dump() if others else None,
        "beside": baselines.sentence(others).strip() if others else "",
        "off_policy": estimated.model_dump() if estimated else None,
        "from_log": off_policy.sentence(estimated).strip() if estimated else "",
    }


def _estimate(
    trained: "TrainedPolicy", storage: Storage, *, episodes: int | None, render: str | None, data: str | None
) -> dict[str, Any]:
    """What there is to say of a policy where there is no simulator: no episode is played."""
    from training_image.trainer.envs import observations as batches
    from training_image.trainer.policies.served import ServedPolicy, prove_equal
    from training_image.trainer.verdict import off_policy

    for option, given in (("--episodes", episodes), ("--render", render)):
        if given is not None:
            raise UsageError(f"{option}: this policy was trained on a log alone; there is no simulator to play in")
    if data is None:
        raise UsageError("--data: what prepare_data.py wrote; without a simulator only its held-out part can judge")
    found, log = _from_log(trained, data)
    onnx = storage.read(POLICY_GRAPH)
    proven = 0
    if onnx is not None:
        space = trained.observation_space
        proven = prove_equal(ServedPolicy(onnx), trained.graph, space, batches.as_input(log.observations, space))
    return {
        "environment": trained.document["environment"]["id"],
        "algorithm": trained.document["algorithm"],
        "seed": trained.document["seed"],
        "episodes": 0,
        "mean_return": found.estimate,
        "lower_bound": found.lower_bound,
        "confidence": CONFIDENCE,
        "onnx_observations": proven,
        "checked": _checked(proven, onnx),
        "video": None,
        "beside": "",
        "off_policy": found.model_dump(),
        "from_log": off_policy.sentence(found).strip(),
    }


def _checked(proven: int, onnx: bytes | None) -> str:
    return f"ONNX acts the same on {proven:,} observations" if onnx else f"there is no {POLICY_GRAPH}"


def _from_log(trained: "TrainedPolicy", data: str) -> "tuple[OffPolicy, Log]":
    """What the held-out part of a log says of a policy, and that part."""
    from training_image.trainer.envs import spaces
    from training_image.trainer.verdict import off_policy

    rows = open_storage(str(Path(data) / Path(HELD_OUT_DATA).name))
    of_spaces = trained.observation_space, spaces.build(trained.document["action_space"])
    gamma = trained.document["hyperparameters"]["gamma"]
    log = off_policy.read(rows, *of_spaces)
    found = None
    if log is not None:
        found = off_policy.estimate(trained.graph, log, *of_spaces, gamma=gamma, confidence=CONFIDENCE)
    if log is None or found is None:
        raise UsageError(f"--data {data}: at least {MIN_JUDGING_EPISODES} held-out episodes are needed in {rows.uri}")
    return found, log


if __name__ == "__main__":
    leave(main())

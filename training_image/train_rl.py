"""Train a policy.

By hand:         python training_image/train_rl.py --env CartPole-v1 --timesteps 100000
In a container:  python training_image/train_rl.py --run s3://bucket/runs/<id> --seed 0
"""

import sys
from pathlib import Path

if not __package__:
    # Run as a script: packages are imported from the repository's root, and never from this folder.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from contract.events import Ended
from contract.layout import CHECKPOINTS, DATASET, MODEL, TRAINING_DATA, TRAINING_SUMMARY, seed_folder
from contract.outcomes import ExitCode
from contract.policy import POLICY_GRAPH
from training_image.trainer import (
    imports,
    threads,  # noqa: F401 - before numpy and torch
)
from training_image.trainer.command import by_hand, guarded, leave
from training_image.trainer.envs import tables
from training_image.trainer.errors import UsageError
from training_image.trainer.monitoring.reporting import EventReporter, Reporter
from training_image.trainer.plan import Plan, plan_by_hand, plan_of_run, read_run
from training_image.trainer.recovery.stopping import Signals
from training_image.trainer.storage import LocalStorage, Storage, open_storage

if TYPE_CHECKING:
    from training_image.trainer.training import Result


def main(arguments: list[str] | None = None) -> int:
    """Train as the command line says; returns the exit code."""
    options = _parse(arguments)
    signals = Signals()
    signals.install()
    if options.run:
        return _in_container(options, signals)
    if options.seeds is not None:
        return _several(options, sys.argv[1:] if arguments is None else arguments, signals)
    return _by_hand(options, signals)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    # Abbreviated options would get past `_without`.
    parser = argparse.ArgumentParser(prog="train_rl.py", description="Train a policy.", allow_abbrev=False)
    parser.add_argument(
        "--env",
        metavar="ID",
        help="Gymnasium id, such as CartPole-v1; or log, with --set for its spaces",
    )
    parser.add_argument("--timesteps", type=int, metavar="N", help="environment steps (default 100000)")
    parser.add_argument("--algo", metavar="NAME", help="algorithm (default ppo)")
    parser.add_argument("--evaluate-every", type=int, metavar="N", help="steps between evaluations (default none)")
    parser.add_argument("--seed", type=int, default=None, help="seed of everything random (default 0)")
    parser.add_argument("--seeds", type=int, metavar="N", help="train seeds 0 to N-1, as many at a time as --jobs says")
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="trainings side by side with --seeds (default: processors)"
    )
    parser.add_argument("--data", metavar="DIR", help="prepared data to learn from, as prepare_data.py wrote them")
    parser.add_argument("--output", metavar="DIR", help="where to write (default runs/<env>-<algo>-<seed>-<time>)")
    parser.add_argument("--resume", action="store_true", help="continue the training in --output")
    parser.add_argument("--json", action="store_true", help="print a JSON summary on stdout, all else on stderr")
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a hyperparameter, or with dots any field of a run file, such as environment.frame_stack=4; repeatable",
    )
    parser.add_argument("--run", metavar="URI", help="prefix of a prepared run; the rest comes from its run.json")
    options = parser.parse_args(arguments)
    mine = ("env", "timesteps", "algo", "evaluate_every", "seeds", "jobs", "data", "output", "resume", "json", "set")
    if options.run:
        if given := [f"--{name.replace('_', '-')}" for name in mine if getattr(options, name)]:
            parser.error(f"--run takes everything but --seed from run.json, so not {', '.join(given)}")
        if options.seed is None:
            parser.error("--run needs --seed")
    elif options.resume and not options.output:
        parser.error("--resume needs --output, the folder of the training to continue")
    elif not options.env and not options.resume:
        parser.error("--env is required, such as --env CartPole-v1")
    if options.seeds is not None and options.seed is not None:
        parser.error("--seeds trains several, --seed one: not both")
    for name in ("seeds", "jobs"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            parser.error(f"--{name} {getattr(options, name)}: at least 1")
    return options


def _in_container(options: argparse.Namespace, signals: Signals) -> int:
    reporter = EventReporter()

    def prepare() -> tuple[Plan, Storage]:
        storage = open_storage(options.run)
        plan = plan_of_run(tables.bound(read_run(storage), storage, TRAINING_DATA), options.seed)
        plan = replace(plan, log=storage.below(TRAINING_DATA).uri)
        return plan, storage.below(seed_folder(plan.seed))

    exit_code, reason, _ = _train(prepare, reporter, signals)
    reporter.report(Ended(event="ended", exit_code=exit_code, reason=reason))
    reporter.close()
    return exit_code


def _by_hand(options: argparse.Namespace, signals: Signals) -> int:
    reporter = by_hand(sys.stderr if options.json else sys.stdout)
    folder = Path(options.output or _default_output(options))

    def prepare() -> tuple[Plan, Storage]:
        storage = LocalStorage(folder)
        return _plan_by_hand(options, storage), storage

    exit_code, reason, summary = _train(prepare, reporter, signals)
    if exit_code == ExitCode.DONE:
        _export(LocalStorage(folder / MODEL))
    reporter.close()
    summary |= {"exit_code": int(exit_code), "reason": reason, "output": str(folder)}
    for line in _ending(folder, summary, options.data):
        reporter.log(line)
    if options.json:
        sys.stdout.write(json.dumps(summary) + "\n")
    return exit_code


def _several(options: argparse.Namespace, arguments: list[str], signals: Signals) -> int:
    """Each seed by a process of its own, below one folder."""
    from training_image.trainer.side_by_side import default_jobs, train_seeds

    stream = sys.stderr if options.json else sys.stdout
    folder = Path(options.output or _default_output(options))
    same = _without(arguments, "--seeds", "--jobs", "--output", flags=("--json",))
    commands = {
        seed: [__file__, *same, "--seed", str(seed), "--output", str(folder / seed_folder(seed))]
        for seed in range(options.seeds)
    }

    def log(line: str) -> None:
        stream.write(line + "\n")
        stream.flush()

    summaries = train_seeds(commands, jobs=options.jobs or default_jobs(), log=log, signals=signals)
    codes = [summary["exit_code"] for summary in summaries.values()]
    codes += [ExitCode.CHECKPOINTED] * (len(commands) - len(codes))  # a signal came before they were begun
    exit_code = next((code for code in codes if code not in (ExitCode.DONE, ExitCode.CHECKPOINTED)), max(codes))
    for seed, summary in sorted(summaries.items()):
        mean = summary.get("mean_return")
        log(f"seed {seed}: {summary['reason']}" + (f", mean return {mean:.1f} in training" if mean is not None else ""))
    if options.json:
        document = {
            "exit_code": int(exit_code),
            "output": str(folder),
            "seeds": [s for _, s in sorted(summaries.items())],
        }
        sys.stdout.write(json.dumps(document) + "\n")
    return int(exit_code)


def _without(arguments: list[str], *options: str, flags: tuple[str, ...]) -> list[str]:
    """Arguments without some options and their values, and without some flags."""
    kept: list[str] = []
    given = iter(arguments)
    for argument in given:
        if argument in options:
            next(given)
        elif argument not in flags and argument.split("=")[0] not in options:
            kept.append(argument)
    return kept


def _train(
    prepare: Callable[[], tuple[Plan, Storage]], reporter: Reporter, signals: Signals
) -> tuple[ExitCode, str, dict[str, Any]]:
    """Exit code, reason and summary."""

    def work() -> "Result":
        plan, storage = prepare()
        # torch and all that stands on it; a wrong command is refused before they are loaded
        with imports.without_collection():
            from training_image.trainer.training import train

        return train(plan, storage, reporter, signals)

    exit_code, reason, result = guarded(work, reporter)
    return (result.exit_code, result.reason, result.summary) if result else (exit_code, reason, {})


def _plan_by_hand(options: argparse.Namespace, storage: Storage) -> Plan:
    """The command line as a run file; with --resume laid over what the training was begun with."""
    begun = json.loads(storage.read(TRAINING_SUMMARY) or b"null")
    if begun and not options.resume:
        raise UsageError(
            f"{storage.uri} holds a training already; continue it with --resume, or choose another --output"
        )
    if options.resume and not begun and not options.env:
        raise UsageError(f"there is no training in {storage.uri} to continue")
    document: dict[str, Any] = {"environment": {}, "algorithm": {}, "limits": {"max_hours": 168}}
    if begun:
        document = begun["specification"]
    if options.env:
        document["environment"]["id"] = options.env
    if options.algo:
        document["algorithm"]["name"] = options.algo
    if options.timesteps is not None:
        document["timesteps"] = options.timesteps
    if options.evaluate_every is not None:
        document["evaluation"] = {"every_steps": options.evaluate_every}
    for name, value in map(_assignment, options.set):
        *sections, field = name.split(".") if "." in name else ("algorithm", "hyperparameters", name)
        section: Any = document
        for part in sections:
            section = section.setdefault(part, {})
            if not isinstance(section, dict):
                raise UsageError(f"--set {name}: {part} has no fields of its own")
        section[field] = value
    seed = options.seed if options.seed is not None else begun["seed"] if begun else 0
    # A run file never says where its table is.
    place = document["environment"].get("kwargs", {}).pop(tables.ARGUMENT, None)
    log = None
    if options.data:
        place = str(Path(options.data) / Path(TRAINING_DATA).name)
        if _kind_of_data(options.data) == "transitions":
            document["data"] = {"kind": "transitions"} | (document.get("data") or {})
            log, place = place, None
    plan = replace(plan_by_hand(Path(storage.uri).name, document, seed), log=log)
    if place is None:
        return plan
    environment = tables.replaying(plan.specification.environment, place)
    return replace(plan, specification=plan.specification.model_copy(update={"environment": environment}))


def _kind_of_data(folder: str) -> str:
    """What the prepared data of a folder are; without dataset.json they are a table's rows."""
    document = LocalStorage(Path(folder)).read(Path(DATASET).name)
    return "table" if document is None else str(json.loads(document)["kind"])


def _assignment(text: str) -> tuple[str, Any]:
    """`n_envs=4` as a name and a JSON value; what is no JSON, such as `tanh`, is text."""
    name, separator, value = text.partition("=")
    if not separator:
        raise UsageError(f"--set {text}: expected NAME=VALUE, such as n_envs=4")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _default_output(options: argparse.Namespace) -> str:
    started = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"runs/{options.env.replace('/', '-')}-{options.algo or 'ppo'}-{options.seed or 0}-{started}"


def _export(model: Storage) -> None:
    """Put policy.onnx beside the trained policy."""
    from training_image.trainer.policies.export import to_onnx
    from training_image.trainer.policies.model import read

    trained = read(model)
    model.write(POLICY_GRAPH, to_onnx(trained.graph, trained.observation_space))


def _ending(folder: Path, summary: dict[str, Any], data: str | None) -> list[str]:
    """What a person wants to know at the end."""
    exit_code, output = summary["exit_code"], shlex.quote(str(folder))
    if exit_code == ExitCode.DONE:
        lines = [f"Done: {summary['reason']}."]
        if summary["mean_return"] is not None:
            lines.append(f"Mean return of the last episodes in training: {summary['mean_return']:.1f}.")
        evaluate = f"python training_image/validate_rl.py --model {output}/{MODEL}"
        if data and summary["specification"].get("data"):
            evaluate += f" --data {shlex.quote(data)}"
        return [*lines, f"The policy is in {folder / MODEL}. Evaluate it: {evaluate}"]
    if exit_code in (ExitCode.CHECKPOINTED, ExitCode.LIMIT):
        again = f"python training_image/train_rl.py --resume --output {output}"
        return [f"Stopped: {summary['reason']}.", f"Checkpointed in {folder / CHECKPOINTS}. Continue: {again}"]
    return [f"Error: {summary['reason']}"]


if __name__ == "__main__":
    leave(main())

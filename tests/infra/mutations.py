"""How much of what protects a stage could be taken away without a test noticing: `python -m tests.infra.mutations`.

Takes away, one at a time, each IAM statement, permission, alarm, encryption setting, limit of time and retry rule of
the synthesised templates, and runs the tests that read templates until one fails. Snapshots and judges do not count,
nor the comparison of the deployed state machine with its file: they all notice any change at all. Everything is
synthesised and collected once; each mutant is a fork of that, looked at in one stage that has it, in development if it
can be, or in a variant. The tests that noticed most so far go first. Exits 1 below 95 %.
"""

import argparse
import copy
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.infra.conftest import ROOT, Stage, Syntheses
from tests.infra.variants import STAGES, VARIANTS

ENOUGH = 0.95

# They notice any change, or build apps of their own, which a fork of this process cannot: the CDK's is not forked.
NOT_COUNTED = (
    "snapshots",
    "judges",
    "judges_apart",
    "governance",
    "assets",
    "bundling",
    "locks",
    "comments",
    "reference",
)
NOT_COUNTED_TESTS = ("tests/infra/test_pipeline.py::test_the_deployed_definition_is_the_file",)

POLICIES = ("AWS::IAM::Policy", "AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy")
WHOLE = {"AWS::Lambda::Permission": "permission", "AWS::CloudWatch::Alarm": "alarm"}
ENCRYPTION = (
    "BucketEncryption",
    "Encrypted",
    "SqsManagedSseEnabled",
    "KmsMasterKeyId",
    "SSESpecification",
    "EncryptionConfiguration",
)
TIME = ("Timeout", "TimeoutSeconds", "JobStateTimeLimitActions", "TimeoutInMinutes", "RetentionInDays")
RETRIES = ("EvaluateOnExit", "RetryPolicy", "Retry", "DeadLetterConfig")

Step = str | int


@dataclass(frozen=True, order=True)
class Mutant:
    """One thing to take away: a path into a resource; below `DefinitionString` it goes on in the state machine."""

    kind: str
    room: str
    resource: str
    path: tuple[Step, ...]

    def __str__(self) -> str:
        return f"{self.kind}: {self.room}/{self.resource} {'.'.join(map(str, self.path))}"


def mutants(stages: dict[str, Stage]) -> list[Mutant]:
    """Everything that can be taken away from any stage."""
    found = {
        mutant
        for stage in stages.values()
        for room, template in stage.templates.items()
        for name, resource in template["Resources"].items()
        for kind, path in _removable(resource)
        for mutant in [Mutant(kind=kind, room=room, resource=name, path=path)]
    }
    return sorted(found, key=str)


def _removable(resource: dict[str, Any]) -> Iterator[tuple[str, tuple[Step, ...]]]:
    kind, properties = resource["Type"], resource.get("Properties", {})
    if kind in WHOLE:
        yield WHOLE[kind], ()
    if kind in POLICIES:
        for index in range(len(properties["PolicyDocument"]["Statement"])):
            yield "statement", ("Properties", "PolicyDocument", "Statement", index)
    for path in _named(properties, ("Properties",)):
        yield _kind_of(path), path
    if "DefinitionString" in properties:
        for path in _named(json.loads(properties["DefinitionString"]), ("Properties", "DefinitionString")):
            yield _kind_of(path), path


def _named(value: Any, path: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
    """The paths of all settings of the three kinds; of a list of rules each by itself."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in (*ENCRYPTION, *TIME, *RETRIES):
                if isinstance(item, list):
                    yield from ((*path, key, index) for index in range(len(item)))
                else:
                    yield (*path, key)
            else:
                yield from _named(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _named(item, (*path, index))


def _kind_of(path: tuple[Step, ...]) -> str:
    name = next(step for step in reversed(path) if isinstance(step, str))
    return "encryption" if name in ENCRYPTION else "time limit" if name in TIME else "retry"


def without(stage: Stage, mutant: Mutant) -> Stage:
    """The stage with one thing taken away, if it has it."""
    templates = dict(stage.templates)
    template = copy.deepcopy(templates.get(mutant.room, {}))
    resource = template.get("Resources", {}).get(mutant.resource)
    if resource is None:
        return stage
    templates[mutant.room] = template
    if not mutant.path:
        del template["Resources"][mutant.resource]
    elif mutant.path[:2] == ("Properties", "DefinitionString"):
        definition = json.loads(resource["Properties"]["DefinitionString"])
        if not _remove(definition, mutant.path[2:]):
            return stage
        resource["Properties"]["DefinitionString"] = json.dumps(definition)
    elif not _remove(resource, mutant.path):
        return stage
    return replace(stage, templates=templates)


def _remove(value: Any, path: tuple[Step, ...]) -> bool:
    try:
        for step in path[:-1]:
            value = value[step]
        del value[path[-1]]
    except (KeyError, IndexError, TypeError):
        return False
    return True


class Experiment:
    """A pytest plugin: instead of running the collected tests once, runs them for each mutant in a fork."""

    def __init__(self, stages: dict[str, Stage], selected: list[Mutant], jobs: int) -> None:
        self._stages = stages
        self._mutants = selected
        self._jobs = jobs
        self._noticed: Counter[str] = Counter()
        self.killed: dict[Mutant, bool] = {}
        self.baseline_passes = False
        self.tests = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the experiment."""
        self.tests = len(session.items)
        self.baseline_passes = not self._start(session, session.items, self._stages)()
        if not self.baseline_passes:
            return True
        tests = {name: self._tests_of(session, name) for name in self._stages}
        running: list[tuple[Mutant, Callable[[], list[str]]]] = []
        for mutant in self._mutants:
            if len(running) == self._jobs:
                self._collect(running)
            stages = {name: without(stage, mutant) for name, stage in self._stages.items()}
            looked_at = next(name for name in ("dev", "prod", *stages) if stages[name] is not self._stages[name])
            tests[looked_at].sort(key=lambda item: -self._noticed[_function(item.nodeid)])
            running.append((mutant, self._start(session, tests[looked_at], stages, looked_at)))
        while running:
            self._collect(running)
        return True

    def _tests_of(self, session: pytest.Session, name: str) -> list[pytest.Item]:
        """Those that look at a stage. At a variant look those of development that hold for it too, and its own."""
        others = tuple(f"[{it}" for it in STAGES if it != (name if name in STAGES else "dev"))
        items = [item for item in session.items if not any(other in item.name for other in others)]
        if name in STAGES:
            return items
        failing = set(self._start(session, items, self._stages, name, to_the_end=True)())
        return [item for item in items if item.nodeid not in failing]

    def _collect(self, running: list[tuple[Mutant, Callable[[], list[str]]]]) -> None:
        mutant, wait = running.pop(0)
        noticed_by = wait()
        self.killed[mutant] = bool(noticed_by)
        self._noticed.update(map(_function, noticed_by))
        if not noticed_by:
            sys.stdout.write(f"survived: {mutant}\n")
            sys.stdout.flush()

    def _start(
        self,
        session: pytest.Session,
        items: list[pytest.Item],
        stages: dict[str, Stage],
        looked_at: str = "dev",
        *,
        to_the_end: bool = False,
    ) -> Callable[[], list[str]]:
        """Run tests in a fork, until one fails or all of them; the answer waits for it and names those that failed.

        Tests of development see the variant that is looked at in its place.
        """
        reading, writing = os.pipe()
        child = os.fork()
        if child:
            os.close(writing)

            def wait() -> list[str]:
                with os.fdopen(reading) as said:
                    failed = said.read().splitlines()
                if os.waitpid(child, 0)[1]:
                    raise RuntimeError(f"a fork died after {failed}")
                return failed

            return wait
        try:
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            shipped = {name: stages[name] for name in STAGES}
            Syntheses.all = lambda _, names: shipped if names == STAGES else {name: stages[name] for name in names}
            for item, following in zip(items, [*items[1:], None], strict=True):
                before = session.testsfailed
                shipped["dev"] = stages[looked_at if looked_at in VARIANTS and "[dev" in item.name else "dev"]
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if session.testsfailed > before:
                    os.write(writing, f"{item.nodeid}\n".encode())
                    if not to_the_end:
                        break
            os._exit(0)
        finally:
            os._exit(2)


def _function(nodeid: str) -> str:
    return nodeid.partition("[")[0]


def main() -> int:
    """Run all mutants and print what survived."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants at a time")
    parser.add_argument("--only", default="", help="only mutants whose description contains this")
    options = parser.parse_args()
    began = time.monotonic()
    with TemporaryDirectory(prefix="rlpipe-mutations-") as folder:
        stages = Syntheses(Path(folder)).all((*STAGES, *VARIANTS))
        experiment = Experiment(stages, [it for it in mutants(stages) if options.only in str(it)], options.jobs)
        files = [
            str(path)
            for path in sorted((ROOT / "tests" / "infra").glob("test_*.py"))
            if path.stem.removeprefix("test_") not in NOT_COUNTED
        ]
        deselected = [part for test in NOT_COUNTED_TESTS for part in ("--deselect", test)]
        options_ = ["-p", "no:cacheprovider", "-p", "no:terminal", "--assert=plain", "-o", "addopts="]
        pytest.main([*options_, *deselected, *files], plugins=[experiment])
    if not experiment.baseline_passes:
        sys.stdout.write("without any mutation a test fails already: run pytest tests/infra\n")
        return 1
    return _report(experiment, time.monotonic() - began)


def _report(experiment: Experiment, seconds: float) -> int:
    total, killed = Counter(it.kind for it in experiment.killed), Counter()
    for mutant, dead in experiment.killed.items():
        killed[mutant.kind] += dead
    for kind in sorted(total):
        sys.stdout.write(f"{kind:12} {killed[kind]:4} of {total[kind]:4} noticed\n")
    share = sum(killed.values()) / max(1, sum(total.values()))
    sys.stdout.write(
        f"{sum(killed.values())} of {sum(total.values())} mutants noticed ({share:.1%}) by {experiment.tests} tests, "
        f"in {seconds:.0f} s\n"
    )
    return 0 if share >= ENOUGH else 1


if __name__ == "__main__":
    sys.exit(main())

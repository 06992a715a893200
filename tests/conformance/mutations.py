"""How much of what the adapters do could break without the suite noticing: `python -m tests.conformance.mutations`.

Breaks one thing at a time in a copy of `embedded_aws/`, in a way that somebody might, and runs the file of the suite
that holds it until a test fails. Exits 1 when a mutant survives.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("embedded_aws", "tests/conformance", "tests/__init__.py", "tests/conftest.py", "pyproject.toml")


class Mutant(NamedTuple):
    """Something that would be wrong in a file below `embedded_aws/`, which is named without its suffix."""

    what: str
    file: str
    before: str
    after: str
    suite: str


MUTANTS = (
    Mutant("no match means no retry", "compute/retries", "    return True\n", "    return False\n", "jobs"),
    Mutant(
        "the last entry decides",
        "compute/retries",
        'in strategy.get("evaluateOnExit", []):',
        'in reversed(strategy.get("evaluateOnExit", [])):',
        "jobs",
    ),
    Mutant("one condition is enough", "compute/retries", "if all(_matches(", "if any(_matches(", "jobs"),
    Mutant("an attempt too many", "compute/retries", "if attempts_made >= int(", "if attempts_made > int(", "jobs"),
    Mutant(
        "patterns mind case",
        "compute/retries",
        "value.lower().startswith(pattern[:-1].lower())",
        "value.startswith(pattern[:-1])",
        "jobs",
    ),
    Mutant("a terminated job is retried", "compute/jobs", "elif job.ended_by is not None:", "elif False:", "jobs"),
    Mutant(
        "an attempt over its time is retried",
        "compute/jobs",
        "_TIMED_OUT, final=True",
        "_TIMED_OUT, final=False",
        "jobs",
    ),
    Mutant(
        "a log group need not exist", "compute/jobs", "if not (job.may_create_log_group or", "if not (True or", "jobs"
    ),
    Mutant(
        "a job acts as nobody",
        "compute/jobs",
        "job.job_id) if role else NO",
        "job.job_id) if not role else NO",
        "permissions",
    ),
    Mutant(
        "the execution role is not asked",
        "compute/jobs",
        "if denied := self._denied(job, stream):",
        "if denied := None:",
        "permissions",
    ),
    Mutant("capacity has no end", "compute/batch", "used + job.vcpus <= _max_vcpus(environment):", "True:", "queues"),
    Mutant(
        "small jobs overtake",
        "compute/batch",
        "break  # The job at the head",
        "continue  # The job at the head",
        "queues",
    ),
    Mutant(
        "the last environment first",
        "compute/batch",
        "        environments = self._order(queue)\n",
        "        environments = self._order(queue)[::-1]\n",
        "queues",
    ),
    Mutant("cancel ends running jobs", "compute/batch", "if job and job.status in WAITING:", "if job:", "jobs"),
    Mutant(
        "inactive definitions take jobs",
        "compute/batch",
        'and not (active and definition["status"] != "ACTIVE")',
        "",
        "jobs",
    ),
    Mutant(
        "nothing is waited for", "compute/batch", 'elif all(state == "SUCCEEDED" for state in states):', "else:", "jobs"
    ),
    Mutant(
        "payloads of any size",
        "workflows/stepfunctions",
        "if len(text.encode()) > _PAYLOAD_LIMIT:",
        "if False:",
        "state_machines",
    ),
    Mutant(
        "stopping stops nothing",
        "workflows/stepfunctions",
        '["status"] == "ABORTED":\n                scope.cancel()',
        '["status"] == "ABORTED":\n                pass',
        "tasks",
    ),
    Mutant(
        "a failure leaves the others running",
        "workflows/stepfunctions",
        "scope.cancel()  # The first failure",
        "pass  # The first failure",
        "tasks",
    ),
    Mutant(
        "jobs are terminated without leave",
        "workflows/stepfunctions",
        "            return  # the job runs on",
        "            pass  # the job runs on",
        "permissions",
    ),
    Mutant(
        "no heartbeats",
        "workflows/callbacks",
        "math.inf if heartbeat is None else",
        "math.inf if True else",
        "state_machines",
    ),
    Mutant(
        "tokens live on", "workflows/callbacks", "        tokens.pop(token, None)", "        pass", "state_machines"
    ),
    Mutant(
        "a token belongs to no machine",
        "access/resources",
        'return [machines.get(request.get("taskToken", ""), "*")]',
        'return ["*"]',
        "permissions",
    ),
    Mutant(
        "a repeated start is refused",
        "workflows/admission",
        "_running(request) or start(request)",
        "start(request)",
        "state_machines",
    ),
    Mutant(
        "definitions lead anywhere",
        "workflows/admission",
        "check(text) or _problem(text)",
        "check(text)",
        "state_machines",
    ),
    Mutant("dead letters are dropped", "delivery", "    if queue:\n", "    if False:\n", "events"),
    Mutant(
        "functions are called once",
        "delivery",
        '"invoke_async_with_retry")(record, ',
        '"invoke_async_with_retry")({**record, "event_invoke_config": {"MaximumRetryAttempts": 0}}, ',
        "events",
    ),
    Mutant(
        "dead letters in an envelope",
        "delivery",
        'if target != dead_letters or ":sqs:" not in target:',
        "if True:",
        "events",
    ),
    Mutant("any subject", "delivery", "if subject and (len", "if False and (len", "topics"),
    Mutant(
        "events call whom they like",
        "delivery",
        "        check(hooks.policy_of_function(arn))",
        "        pass",
        "permissions",
    ),
    Mutant(
        "no namespace of metrics",
        "access/permissions",
        "        if known.context:\n",
        "        if False:\n",
        "permissions",
    ),
    Mutant("requests of any size", "apigateway", "if body and len(body) > _LARGEST_REQUEST:", "if False:", "gateway"),
    Mutant(
        "exceptions are shown",
        "apigateway",
        "if error or malformed else (answer, None)",
        "if malformed else (answer, error)",
        "gateway",
    ),
    Mutant("nonsense is an answer", "apigateway", "if error or malformed else", "if error else", "gateway"),
    Mutant(
        "what never came up is in service",
        "hosting/sagemaker",
        '"InService" if blue else "Failed"',
        '"InService"',
        "endpoints",
    ),
    Mutant("names are used twice", "hosting/sagemaker", "        if name in store:", "        if False:", "endpoints"),
    Mutant(
        "a token makes two packages",
        "hosting/sagemaker",
        'token = request.get("ClientToken")',
        "token = None",
        "endpoints",
    ),
    Mutant(
        "nothing is denied",
        "access/permissions",
        "        if not allowed:\n            raise",
        "        if False:\n            raise",
        "permissions",
    ),
    Mutant("what lacks is told", "access/permissions", "if given[0] != 404 or", "if True or", "permissions"),
    Mutant(
        "a queue is nobody's",
        "access/resources",
        '_named("job-definition", definition), _named("job-queue", queue)]',
        '_named("job-queue", queue)]',
        "permissions",
    ),
    Mutant(
        "roles are passed freely",
        "access/resources",
        'request.get("RoleArn")\n        if role:\n',
        'request.get("RoleArn")\n        if False:\n',
        "permissions",
    ),
    Mutant(
        "tags are free",
        "access/resources",
        'if service == "s3" and method in',
        'if service == "" and method in',
        "permissions",
    ),
    Mutant(
        "alarms have no names", "access/resources", 'if service == "monitoring":', 'if service == "":', "permissions"
    ),
    Mutant("events name no version", "hooks", 'detail["object"]["version-id"] = version.get()', "pass", "objects"),
    Mutant("exceptions have no type", "hooks", '"errorType": type(e).__name__', '"errorType": "Error"', "functions"),
)
"""Each would be a lie about AWS."""


def _source(mutant: Mutant, root: Path) -> Path:
    return root / "embedded_aws" / f"{mutant.file}.py"


def stale() -> list[str]:
    """Mutants whose place in the code is gone, or no longer the only one."""
    return [m.what for m in MUTANTS if _source(m, ROOT).read_text(encoding="utf-8").count(m.before) != 1]


def _is_noticed(mutant: Mutant) -> bool:
    with TemporaryDirectory(prefix="rlpipe-mutant-") as folder:
        copy = Path(folder)
        for name in COPIED:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, copy / name)
        source = _source(mutant, copy)
        source.write_text(source.read_text(encoding="utf-8").replace(mutant.before, mutant.after), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, "--basetemp", str(copy / "tmp"), f"tests/conformance/test_{mutant.suite}.py"],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in (0, 1):
            raise RuntimeError(f"{mutant.what}: the tests did not run:\n{done.stdout}{done.stderr}")
        return done.returncode == 1


def main() -> int:
    """Run all mutants and print what survived."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants at a time")
    parser.add_argument("--only", default="", help="only mutants whose description contains this")
    options = parser.parse_args()
    began = time.monotonic()
    chosen = [mutant for mutant in MUTANTS if options.only in mutant.what]
    survivors = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for mutant, noticed in zip(chosen, pool.map(_is_noticed, chosen), strict=True):
            survivors += not noticed
            sys.stdout.write(f"{'noticed ' if noticed else 'SURVIVED'} {mutant.what} ({mutant.file})\n")
            sys.stdout.flush()
    took = time.monotonic() - began
    sys.stdout.write(f"{len(chosen) - survivors} of {len(chosen)} mutants noticed, in {took:.0f} s\n")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())

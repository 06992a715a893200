"""Jobs whose process was started before there was a job."""

import json
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from embedded_aws.warden import carriers
from tests.conformance import images
from tests.conformance.account import until
from tests.conformance.embedded import Instance, alive

TELL = """
import json, os, sys
print(json.dumps({
    "was ahead": "heavy" in sys.modules,
    "arguments": sys.argv,
    "name": __name__,
    "file": os.path.abspath(__file__),
    "path": sys.path,
    "folder": os.getcwd(),
    "variables": dict(os.environ),
    "input": sys.stdin.read(),
    "words": [w for w in open("/proc/self/cmdline").read().split("\\0") if w],
    "leads": os.getpgid(0) == os.getpid(),
}), flush=True)
sys.exit(int(sys.argv[2]))
"""
FILES = {"tell.py": TELL, "other.py": TELL, "heavy.py": ""}
OF_ONE_ATTEMPT = ("AWS_BATCH_JOB_ID", "AWS_BATCH_JQ_NAME", "AWS_BATCH_CE_NAME")


@pytest.fixture
def aws(tmp_path: Path) -> Any:
    instance = Instance(tmp_path)
    yield instance
    if instance.process.poll() is None:
        instance.stop()


def image(aws: Instance, name: str, *, ahead: bool, **more: str) -> str:
    files = {**FILES, **more}
    return images.stage(aws.assembly, name, files, ["python"], 'rlpipe.ahead="tell.py:heavy,json"' if ahead else "")


def defined(aws: Instance, uri: str) -> str:
    return aws.definition(container={"image": uri, "command": ["tell.py", "a b", "0"]})


def told(aws: Instance, definition: str, queue: str, script: str = "tell.py", code: str = "0") -> dict[str, Any]:
    """What a job saw of itself."""
    overrides = {"command": [script, "a b", code], "environment": [{"name": "X", "value": "é=\n1"}]}
    job = aws.end(aws.submit(definition, queue, containerOverrides=overrides))
    assert job["container"]["exitCode"] == int(code)
    found: dict[str, Any] = json.loads(aws.lines(job)[0])
    return found


def waiting(aws: Instance) -> list[psutil.Process]:
    """The processes that wait for a job."""
    children = psutil.Process(aws.process.pid).children()
    return [child for child in children if any(word.endswith("become.py") for word in child.cmdline())]


def test_a_job_that_was_waited_for_sees_what_any_other_does(aws: Instance) -> None:
    queue = aws.queue()
    seen = []
    for name, ahead in (("warm", True), ("cold", False)):
        uri = image(aws, name, ahead=ahead)
        found = told(aws, defined(aws, uri), queue)
        assert found.pop("was ahead") == ahead
        for variable in OF_ONE_ATTEMPT:
            found["variables"].pop(variable)
        here = str(aws.assembly / f"asset.{uri.rpartition(':')[2]}")
        seen.append(json.loads(json.dumps(found).replace(here, "HERE")))
    assert seen[0] == seen[1]
    assert seen[0]["words"][1:] == ["tell.py", "a b", "0"]
    assert (seen[0]["input"], seen[0]["variables"]["X"], seen[0]["leads"]) == ("", "é=\n1", True)


def test_one_waits_again_after_each_job_and_exit_codes_are_those_of_the_job(aws: Instance) -> None:
    queue, definition = aws.queue(), defined(aws, image(aws, "warm", ahead=True))
    for code in ("3", "0", "75"):
        assert told(aws, definition, queue, code=code)["was ahead"]
    until(lambda: len(waiting(aws)) == 1, what="one waits")


def test_only_the_scripts_that_are_named_are_waited_for(aws: Instance) -> None:
    queue, definition = aws.queue(), defined(aws, image(aws, "warm", ahead=True))
    assert not told(aws, definition, queue, "other.py")["was ahead"]
    assert told(aws, definition, queue)["was ahead"]


def test_a_job_needs_no_process_that_has_waited(aws: Instance) -> None:
    queue, definition = aws.queue(), defined(aws, image(aws, "warm", ahead=True))
    (process,) = waiting(aws)
    process.kill()
    until(lambda: not alive(process.pid), what="it has ended")
    assert not told(aws, definition, queue)["was ahead"]
    assert told(aws, definition, queue)["was ahead"]


@pytest.mark.parametrize("heavy", ["raise SystemExit('nothing here can be imported')", "import nothing.at.all"])
def test_what_cannot_be_imported_ahead_is_left_to_the_job(aws: Instance, heavy: str) -> None:
    definition = defined(aws, image(aws, "warm", ahead=True, **{"heavy.py": heavy}))
    assert not told(aws, definition, aws.queue())["was ahead"]


def test_a_new_image_takes_the_place_of_the_one_before(aws: Instance) -> None:
    defined(aws, image(aws, "warm", ahead=True))
    (before,) = waiting(aws)
    newer = defined(aws, image(aws, "newer", ahead=True, **{"heavy.py": "at = 2"}))
    assert told(aws, newer, aws.queue())["was ahead"]
    assert not alive(before.pid)


def test_the_next_instance_has_one_wait_before_anything_is_deployed(aws: Instance) -> None:
    defined(aws, uri := image(aws, "warm", ahead=True))
    aws.stop()
    aws.process = aws.start()
    until(lambda: len(waiting(aws)) == 1, what="one waits")
    (process,) = waiting(aws)
    definition = defined(aws, uri)
    assert [other.pid for other in waiting(aws)] == [process.pid]
    assert told(aws, definition, aws.queue())["was ahead"]


def test_a_process_that_waits_does_not_outlive_its_instance(aws: Instance) -> None:
    defined(aws, image(aws, "warm", ahead=True))
    (process,), marker = waiting(aws), aws.marker
    aws.process.send_signal(signal.SIGKILL)
    aws.process.wait()
    until(lambda: not alive(process.pid), what="it has ended")
    until(lambda: not carriers(marker), what="so has its warden")

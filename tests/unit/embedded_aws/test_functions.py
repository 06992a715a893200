"""Processes of functions."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conformance.account import until
from tests.conformance.embedded import Instance
from tests.unit.embedded_aws.test_ahead import waiting

STARTS_SLOWLY = """
import os, time
time.sleep(1)

def handler(event, context):
    time.sleep(event["seconds"])
    return os.getpid()
"""


@pytest.mark.parametrize(("seconds", "processes"), [(0.01, {1, 2}), (2, {2, 3, 4})])
def test_a_burst_of_invocations_waits_for_the_first_process_unless_it_is_kept_busy(
    tmp_path: Path, seconds: float, processes: set[int]
) -> None:
    aws = Instance(tmp_path)
    try:
        name = aws.function(STARTS_SLOWLY)

        def invoke(_number: int) -> int:
            answer = aws.functions.invoke(FunctionName=name, Payload=json.dumps({"seconds": seconds}))
            return int(json.load(answer["Payload"]))

        began = time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            assert len(set(pool.map(invoke, range(4)))) in processes
        assert time.monotonic() - began < 30
    finally:
        aws.stop()


TELLS = """
import json, os, sys

def handler(event, context):
    return {
        "was ahead": "boto3" in sys.modules,
        "arguments": sys.argv[1:],
        "folder": os.listdir(),
        "words": [w for w in open("/proc/self/cmdline").read().split("\\0") if w][1:],
        "variables": sorted(os.environ),
        "path": [path for path in sys.path if "ministack-lambda" not in path],
        "event": event,
        "name": context.function_name,
    }
"""


def has_one_ready(aws: Instance) -> bool:
    """Whether a process waits and has imported all that it shall."""
    return [process.status() for process in waiting(aws) if "_yaml" in str(process.memory_maps())] == ["sleeping"]


def test_a_function_whose_process_has_waited_sees_what_any_other_does(tmp_path: Path) -> None:
    seen = []
    for number in (1, 0):
        aws = Instance(tmp_path / str(number), "--functions-ahead", str(number))
        try:
            if number:
                until(lambda aws=aws: has_one_ready(aws), what="one waits")
            name = aws.function(TELLS)
            answer = json.load(aws.functions.invoke(FunctionName=name, Payload=b'{"a": [1]}')["Payload"])
            assert answer.pop("was ahead") == bool(number)
            seen.append(
                json.loads(re.sub(rf"{name}[-\w]*", "NAME", json.dumps(answer)).replace(str(aws.state_dir), "HERE"))
            )
            assert waiting(aws) == []
        finally:
            aws.stop()
    assert seen[0] == seen[1]
    assert seen[0]["event"] == {"a": [1]}

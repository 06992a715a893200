"""Processes of functions."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conformance.embedded import Instance

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

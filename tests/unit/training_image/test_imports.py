"""torch on one thread, and without its compiler until somebody asks for it."""

import json
import os
import subprocess
import sys

import pytest

PROBE = """
import json, sys
from training_image.trainer import imports
with imports.without_collection():
    from training_image.trainer import training
import torch
"""
WAITING = ["torch._prims", "torch._decomp", "torch._refs", "torch.export.exported_program", "torch.ao.quantization"]


def probe(then: str) -> object:
    """What a fresh process prints that has imported the trainer."""
    ran = subprocess.run([sys.executable, "-c", PROBE + then], capture_output=True, text=True, check=True)
    return json.loads(ran.stdout.splitlines()[-1])


def test_a_training_loads_no_compiler() -> None:
    assert probe(f"print(json.dumps([name for name in {WAITING} if name in sys.modules]))") == []


@pytest.mark.parametrize(
    "then",
    [
        pytest.param(
            "given = torch.tensor([[2.0, 0.0], [0.0, 1.0]])\n"
            "compiled = torch.compile(lambda x: torch.linalg.svdvals(x).sum(), backend='eager')\n"
            "print(json.dumps(float(compiled(given))))",
            id="compile",
        ),
        pytest.param(
            "class Sums(torch.nn.Module):\n"
            "    def forward(self, x):\n"
            "        return torch.linalg.svdvals(x).sum()\n"
            "given = torch.tensor([[2.0, 0.0], [0.0, 1.0]])\n"
            "print(json.dumps(float(torch.export.export(Sums(), (given,)).module()(given))))",
            id="export",
        ),
        pytest.param(
            "scale = torch.ao.quantization.MinMaxObserver()(torch.tensor([1.0, 3.0]))\n"
            "print(json.dumps(float(scale.max())))",
            id="quantisation",
        ),
    ],
)
def test_whoever_asks_for_what_waits_gets_it(then: str) -> None:
    assert probe(then) == pytest.approx(3.0)


def test_what_a_waiting_module_lacks_is_an_attribute_error() -> None:
    assert probe("print(json.dumps(getattr(torch.export, 'nothing', 'lacking')))") == "lacking"


@pytest.mark.parametrize("script", ["train_rl", "validate_rl"])
def test_a_script_asks_for_one_thread_unless_somebody_chose_another_number(script: str) -> None:
    """torch has as many as the variable says, here of whoever loads it first."""
    code = f"import training_image.{script}, torch; print(torch.get_num_threads())"
    given = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    asked = [{}, {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}]
    command = [sys.executable, "-c", code]
    ran = [subprocess.run(command, env=given | more, capture_output=True, text=True, check=True) for more in asked]
    assert [one.stdout.strip() for one in ran] == ["1", "2"]

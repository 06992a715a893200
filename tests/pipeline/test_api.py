"""The HTTP API is as its document says, whatever is asked; `python -m benchmarks api` asks ten thousand times."""

from contract.outcomes import Outcome
from tests.pipeline.cases import ask, nothing_starts
from tests.pipeline.laptop import QUICK, Laptop


def test_whatever_is_asked_the_answer_is_as_documented(laptop: Laptop) -> None:
    run_id = laptop.drop("asked", QUICK)
    laptop.reaches(run_id, Outcome.SUCCEEDED)
    with nothing_starts(laptop):
        seen = ask(laptop.outputs["ApiUrl"], 200, known={"run_id": [run_id], "endpoint": ["asked"]})
    assert seen.failures == []
    assert seen.answers.total() >= 200
    answered = {name.rpartition(" ")[0] for name in seen.answers if name.endswith(("200", "202"))}
    there = {"GET /policies", "GET /policies/{endpoint}", "GET /runs", "GET /runs/{run_id}"}
    assert there <= answered, "half of the requests are to what there is"


def test_who_does_not_sign_is_refused(laptop: Laptop) -> None:
    seen = ask(laptop.outputs["ApiUrl"], 15, known={}, signed=False)
    assert {name.rpartition(" ")[2] for name in seen.answers} == {"403"}

"""docs/algorithms/ follows the contract, the tuned hyperparameters and the results."""

import pytest

from contract.algorithms import ALGORITHMS
from training_image.algorithm_pages import pages
from training_image.learning_table import CASES, FOLDER, main, measure, read

PAGES = pages(read(FOLDER))


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_is_up_to_date(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name], "run `python -m training_image.algorithm_pages`"


def test_every_algorithm_has_a_page_and_a_case() -> None:
    assert {f"{name}.md" for name in ALGORITHMS} <= PAGES.keys()
    assert {case.algorithm for case in CASES} == {name for name, one in ALGORITHMS.items() if not one.is_offline}


@pytest.mark.parametrize(("name", "least"), [("ppo:CartPole-v1", 495), ("q-learning:CliffWalking-v1", -13)])
def test_what_the_table_says_is_learnt(name: str, least: float) -> None:
    """The cheap part of the table, trained here and now."""
    case = next(case for case in CASES if case.name == name)
    result = measure(case, 1000)
    assert result["mean_return"] >= least
    assert result["curve"][-1][0] >= 0.9 * case.timesteps


def test_an_unknown_case_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "ppo:Chess"])
    assert "--only ppo:Chess: one of ppo:CartPole-v1" in capsys.readouterr().err

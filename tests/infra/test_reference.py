from stacks.reference import PAGE, page, read
from tests.infra.conftest import Stage


def test_the_page_of_the_stacks_says_what_is_synthesised(stages: dict[str, Stage]) -> None:
    synthesised = {name: read(stages[name].settings, stages[name].folder) for name in ("dev", "prod")}
    assert page(synthesised) == PAGE.read_text(), "python -m stacks.reference writes it anew"

"""The page of the behaviours, from the tests: `python -m tests.conformance` writes docs/reference/conformance.md."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "conformance.md"
_DOMAIN = "https://docs.aws.amazon.com/"


class Behaviour(NamedTuple):
    """What a test holds, and the page that promises it."""

    about: str
    sentence: str
    page: str


def behaviours() -> Iterator[Behaviour]:
    """Every behaviour of the suite, in the order of the files."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        about = (ast.get_docstring(module) or "").partition("\n")[0].rstrip(".")
        for node in module.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                [page] = [
                    str(mark.args[0].value)
                    for mark in node.decorator_list
                    if isinstance(mark, ast.Call)
                    and ast.unparse(mark.func) == "pytest.mark.page"
                    and isinstance(mark.args[0], ast.Constant)
                ]
                sentence = node.name.removeprefix("test_").replace("_", " ")
                yield Behaviour(about.partition(": https")[0], sentence[:1].upper() + sentence[1:], page)


def text() -> str:
    """The page."""
    found = list(behaviours())
    lines = [
        "# What the embedded AWS is held to",
        "",
        f"{len(found)} behaviours that the pipeline relies on, each a test in `tests/conformance` that runs against",
        "the embedded AWS with `make test`, and against an account with `pytest tests/conformance --aws ACCOUNT`.",
        "This page is made from the tests by `python -m tests.conformance`.",
    ]
    about = ""
    for behaviour in found:
        if behaviour.about != about:
            about = behaviour.about
            lines += ["", f"## {about}", "", "| Behaviour | AWS documentation |", "|---|---|"]
        name = behaviour.page.rpartition("/")[2].removesuffix(".html")
        lines.append(f"| {behaviour.sentence} | [{name}]({_DOMAIN}{behaviour.page}) |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")

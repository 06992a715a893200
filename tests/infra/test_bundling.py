"""The functions' dependencies, packed for a processor and a Python that are not this machine's."""

import subprocess
from pathlib import Path

import pytest

from stacks.constructs import dependencies


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """Stands in for pip: records its calls and installs one package and one script."""
    calls: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        target = Path(command[command.index("--target") + 1])
        (target / "yaml").mkdir(parents=True)
        (target / "yaml" / "__init__.py").write_text("")
        (target / "bin").mkdir()
        (target / "bin" / "tool").write_text("#!/home/somebody/.venv/bin/python")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(dependencies, "CACHE", tmp_path / "cache")
    return calls


def test_dependencies_lie_beside_the_code(pip: list[list[str]]) -> None:
    folder = dependencies.function_code(bundle=True)
    assert {path.name for path in folder.iterdir()} == {"contract", "lambdas", "yaml"}


def test_they_are_installed_for_the_functions_processor_and_python(pip: list[list[str]]) -> None:
    dependencies.function_code(bundle=True)
    [command] = pip
    for option, value in {"--platform": "manylinux2014_aarch64", "--python-version": "3.14"}.items():
        assert command[command.index(option) + 1] == value
    assert "--only-binary=:all:" in command
    assert command[command.index("--constraint") + 1].endswith("constraints.txt")


def test_a_second_synthesis_needs_no_pip(pip: list[list[str]]) -> None:
    dependencies.function_code(bundle=True)
    dependencies.function_code(bundle=True)
    assert len(pip) == 1


def test_without_bundling_pip_is_not_called(pip: list[list[str]]) -> None:
    folder = dependencies.function_code(bundle=False)
    assert pip == []
    assert {path.name for path in folder.iterdir()} == {"contract", "lambdas"}


def test_a_failed_installation_says_how_to_do_without_and_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "no route to host")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(dependencies, "CACHE", tmp_path / "cache")
    with pytest.raises(RuntimeError, match=r"(?s)bundling=off.*no route to host"):
        dependencies.function_code(bundle=True)
    assert list((tmp_path / "cache").glob("*")) == []

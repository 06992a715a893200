"""A container image on a laptop: the asset folder it would have been built from, and the command it would start.

The image of a job definition or a model is `<registry>/<repository>:<asset hash>`. The assembly's asset manifest says
which folder and Dockerfile have that hash; the Dockerfile says what would run. The folder stands for the image's
WORKDIR, so exactly the code of the asset runs, in the interpreter that runs this emulator.
"""

import json
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_TAG = re.compile(r"^[0-9a-f]{64}$")
_AHEAD = "rlpipe.ahead"
_NOT_CARRIED_OVER = frozenset({"PATH", "HOME", "VIRTUAL_ENV"})


class ImageNotFoundError(LookupError):
    """No assembly has an asset for the image."""


@dataclass(frozen=True)
class LocalImage:
    """What to start in place of a container."""

    directory: Path
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    environment: dict[str, str]
    ahead: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By the name of a script, the modules that are worth importing before there is a job."""

    def argv(self, command: list[str]) -> list[str]:
        """The process to start for a container `command`; an empty one means the image's own CMD."""
        argv = [*self.entrypoint, *(command or self.command)]
        return [sys.executable, *argv[1:]] if argv and Path(argv[0]).name in ("python", "python3") else argv


def resolve(image: str, assemblies: list[Path]) -> LocalImage:
    """The local stand-in of `image`.

    Raises ImageNotFoundError when no asset manifest of `assemblies` names the image's tag.
    """
    tag = image.rpartition(":")[2]
    for folder, asset in _docker_assets(assemblies, tag):
        source = asset["source"]
        directory = (folder / source["directory"]).resolve()
        return _read_dockerfile(directory, directory / source.get("dockerFile", "Dockerfile"))
    looked_in = ", ".join(str(path) for path in assemblies)
    raise ImageNotFoundError(f"no docker image asset with the tag '{tag}' in the assemblies {looked_in}")


def is_asset(tag: str, assemblies: list[Path]) -> bool:
    """Whether an assembly has a docker image asset with this tag."""
    return bool(_TAG.match(tag)) and any(True for _ in _docker_assets(assemblies, tag))


def _docker_assets(assemblies: list[Path], tag: str) -> Iterator[tuple[Path, dict[str, dict[str, str]]]]:
    for assembly in assemblies:
        for manifest in sorted([*assembly.glob("*.assets.json"), *assembly.glob("assembly-*/*.assets.json")]):
            try:
                asset = json.loads(manifest.read_text()).get("dockerImages", {}).get(tag)
            except (OSError, ValueError):
                continue  # A synth is writing the assembly at this moment.
            if asset and (manifest.parent / asset["source"].get("directory", "")).is_dir():
                yield manifest.parent, asset


def _read_dockerfile(directory: Path, dockerfile: Path) -> LocalImage:
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    labels: dict[str, str] = {}
    workdir = "/"
    for name, rest in _instructions(dockerfile.read_text()):
        if name == "FROM":
            entrypoint, command, environment, labels, workdir = (), (), {}, {}, "/"
        elif name == "WORKDIR":
            workdir = rest.strip().rstrip("/") or "/"
        elif name == "ENV":
            environment.update(_variables(rest))
        elif name == "LABEL":
            labels.update(_variables(rest))
        elif name == "ENTRYPOINT":
            entrypoint, command = _exec_form(name, rest, dockerfile), ()
        elif name == "CMD":
            command = _exec_form(name, rest, dockerfile)
    local = {
        key: value.replace(workdir, str(directory)) if workdir != "/" else value
        for key, value in environment.items()
        if key not in _NOT_CARRIED_OVER
    }
    local["PYTHONPATH"] = str(directory)
    return LocalImage(directory, entrypoint, command, local, _ahead(labels.get(_AHEAD, "")))


def _ahead(text: str) -> dict[str, tuple[str, ...]]:
    """`SCRIPT:MODULE,MODULE SCRIPT:MODULE`."""
    parts = (word.partition(":") for word in text.split())
    return {script: tuple(modules.split(",")) for script, _, modules in parts}


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    for line in joined.splitlines():
        name, _, rest = line.strip().partition(" ")
        if name:
            yield name.upper(), rest.strip()


def _variables(rest: str) -> dict[str, str]:
    words = shlex.split(rest)
    if words and "=" not in words[0]:  # the old form: ENV NAME the whole rest
        return {words[0]: " ".join(words[1:])}
    return dict(word.split("=", 1) for word in words if "=" in word)


def _exec_form(name: str, rest: str, dockerfile: Path) -> tuple[str, ...]:
    try:
        words = json.loads(rest)
    except ValueError:
        words = None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f'{dockerfile}: {name} must be in exec form, for example {name} ["python"]; given: {rest}')
    return tuple(words)

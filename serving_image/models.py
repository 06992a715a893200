"""The policies of a container, by name."""

import os
from pathlib import Path

from contract.policy import POLICY_DOCUMENT
from serving_image.model_folder import ModelError
from serving_image.policy import ServedPolicy
from serving_image.proof import load
from serving_image.refusals import RefusalError, describe

MAX_MODELS = 256
"""Beyond these SageMaker is told to unload some first."""

DEFAULT = "default"
"""Name of a policy that is alone in its folder."""


class Models:
    """Policies by name.

    Args:
        root: in which folder further ones may be loaded from; None where none may be.
    """

    def __init__(self, policies: dict[str, ServedPolicy], root: Path | None = None) -> None:
        self.loaded = dict(policies)
        self.folders: dict[str, str] = dict.fromkeys(policies, "")
        self._root = root

    @property
    def changeable(self) -> bool:
        """Whether policies may be loaded and unloaded."""
        return self._root is not None

    def only(self) -> ServedPolicy:
        """The policy of a container that has one.

        Raises:
            RefusalError: when there are others, or none.
        """
        if len(self.loaded) == 1:
            return next(iter(self.loaded.values()))
        raise RefusalError(
            404,
            field="path",
            given=f"/invocations, of a container with {len(self.loaded)} policies",
            expected=f"/models/<name>/invoke, {self._names()}",
        )

    def named(self, name: str) -> ServedPolicy:
        """The policy of this name.

        Raises:
            RefusalError: when it is not loaded.
        """
        policy = self.loaded.get(name)
        if policy is None:
            raise RefusalError(404, field="path", given=describe(name), expected=self._names())
        return policy

    def folder_for(self, name: str, url: str) -> Path:
        """Where the policy lies that is to be loaded under this name.

        Raises:
            RefusalError: when there is one of that name, too many, or the folder is none to load from.
        """
        assert self._root is not None
        if name in self.loaded:
            raise RefusalError(409, field="model_name", given=describe(name), expected="one that is not loaded yet")
        if len(self.loaded) >= MAX_MODELS:
            given = f"one more than {MAX_MODELS}"
            raise RefusalError(507, field="model_name", given=given, expected=f"at most {MAX_MODELS} policies")
        folder = Path(os.path.realpath(url))
        if not folder.is_relative_to(os.path.realpath(self._root)):
            raise RefusalError(400, field="url", given=describe(url), expected=f"a folder in {self._root}")
        return folder

    def add(self, name: str, folder: Path, policy: ServedPolicy) -> None:
        """Serve a policy under this name from now on."""
        self.loaded[name], self.folders[name] = policy, str(folder)

    def remove(self, name: str) -> None:
        """Serve it no more.

        Raises:
            RefusalError: when it is not loaded.
        """
        self.named(name)
        del self.loaded[name], self.folders[name]

    def _names(self) -> str:
        return f"one of {', '.join(sorted(self.loaded)[:10]) or 'none so far'}"


def load_folder(folder: Path) -> dict[str, tuple[ServedPolicy, int]]:
    """The policy in a folder, or those in its subfolders by their names, and how many observations prove each.

    Raises:
        ModelError: when there is none, or one of them may not be served.
    """
    below = sorted(path.parent for path in folder.glob(f"*/{POLICY_DOCUMENT}"))
    if below and not (folder / POLICY_DOCUMENT).exists():
        if len(below) > MAX_MODELS:
            raise ModelError(f"{folder} holds {len(below)} policies; at most {MAX_MODELS} can be served")
        return {path.name: load(path) for path in below}
    return {DEFAULT: load(folder)}

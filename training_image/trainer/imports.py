"""Importing torch and what stands on it: half of the seconds that a small training takes.

Import this before torch: from then on its compiler and its quantisation, a third of what `import torch` executes, are
loaded by whoever first asks for something in them. Nothing here does.
"""

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_SHAPES = "torch._meta_registrations"
"""Tells the compiler the shapes of results, by being executed: nobody asks for anything in it."""

_LATER = {
    _SHAPES,
    "torch.export",
    "torch.ao",
    "torch.quantization",
    "torch.nn.intrinsic",
    "torch.nn.qat",
    "torch.nn.quantizable",
    "torch.nn.quantized",
}
_COMPILERS = {"torch._dynamo", "torch._inductor"}


class _Lazily(MetaPathFinder):
    """Finds the modules that can wait. Python's own LazyLoader would not do: torch looks at `__file__` and the like of
    all modules while it is imported, and that is enough for it to load one."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in _COMPILERS and _SHAPES in sys.modules:
            waiting = vars(sys.modules[_SHAPES]).get("__getattr__")
            if isinstance(waiting, _Waiting):
                waiting.load()
        if fullname not in _LATER:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec and spec.loader:
            spec.loader = _WhenAsked(spec.loader)
        return spec


class _WhenAsked(Loader):
    """Executes a module when it is first asked for one of its names."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__getattr__"] = _Waiting(module, self._loader)


class _Waiting:
    """The `__getattr__` of a module that was not executed yet."""

    def __init__(self, module: ModuleType, loader: Loader) -> None:
        self._module, self._loader = module, loader

    def __call__(self, name: str) -> Any:
        if name != "__all__" and name.startswith("__"):
            raise AttributeError(f"module {self._module.__name__!r} has no attribute {name!r}")
        self.load()
        return getattr(self._module, name)

    def load(self) -> None:
        """Execute the module."""
        del vars(self._module)["__getattr__"]
        self._loader.exec_module(self._module)


sys.meta_path.insert(0, _Lazily())


@contextmanager
def without_collection() -> Iterator[None]:
    """No search for garbage while modules are imported: there is none, and it takes a quarter of the time.

    What was imported stays for good, so later searches pass it over too.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()

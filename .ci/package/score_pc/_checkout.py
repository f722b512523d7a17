"""In an editable install ``score_pc.samplers`` is the checkout's module ``samplers``, the same object."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[3]


def use_bare_names(names: Sequence[str]) -> Path:
    """Make ``score_pc.<name>`` and the modules below it those of the bare name; the root of the checkout."""
    # First, because Python's own finder would make a second module from the same file.
    sys.meta_path.insert(0, _Alias(names))
    return ROOT


class _Alias(MetaPathFinder, Loader):
    """Finder and loader of modules that exist under another name."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, bare = name.partition(".")
        if package != "score_pc" or bare.partition(".")[0] not in self._names:
            return None
        return ModuleSpec(name, self)

    def create_module(self, spec: ModuleSpec) -> None:
        """Python's default, a module that is replaced at once."""

    def exec_module(self, module: ModuleType) -> None:
        for name in self._names:
            _refuse_another(name)
        sys.modules[module.__name__] = importlib.import_module(module.__name__.partition(".")[2])


def _refuse_another(name: str) -> None:
    """A bare name can be taken by a module of the user's that Python finds first."""
    held = sys.modules.get(name)
    spec = held.__spec__ if held is not None else importlib.util.find_spec(name)
    where = None if spec is None else spec.origin
    if where is not None and not Path(where).resolve().is_relative_to(ROOT):
        raise ImportError(
            f"score_pc is installed from {ROOT} in editable mode, where {name!r} must be that folder's, and {where} is "
            "found instead: rename it, or install score-pc without -e."
        )

"""Files of the user's, plugins and configurations, are imported so that our packages answer to their bare names.

In a checkout our packages are ``samplers``, ``models`` and so on; in the wheel they are ``score_pc.samplers``,
``score_pc.models``. A file of the user's says ``from samplers import Predictor`` in both. The rule for every
``import`` statement in it, now and later, and in every module of the user's that it imports:

1. A name of ours is looked up in our package first.
2. Where ours lacks it, a module of the user's is taken that lies beside the file, or in the working directory:
   ``from models import my_thing`` finds ``my_thing`` in the user's own ``models.py``. That file is executed only
   when something is taken from it. For a file inside a package the package's folder counts as well.
3. Anything else is imported as Python does, with the same folders searched last.

Nobody else's imports change: the rule is the ``__import__`` of these modules alone.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType, SimpleNamespace

PACKAGES = ("sde_lib", "models", "samplers", "losses", "likelihood", "configs", "run_lib")
PREFIX = __name__.partition("run_lib")[0]
"""What stands before our packages' names: nothing in a checkout, ``score_pc.`` in the wheel."""


def load_module(path: Path, name: str) -> ModuleType:
    """The module that a file of the user's makes, executed anew and entered in ``sys.modules`` under ``name``.

    Raises:
        FileNotFoundError: there is no such file.
        Exception: whatever the file raises.
    """
    loader = _Loader(name, str(path.absolute()))
    spec = importlib.util.spec_from_file_location(name, path.absolute(), loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]  # as Python does with a module that fails
        raise
    return module


def import_module(name: str) -> ModuleType:
    """The user's module of a dotted name, from the path of Python or the working directory.

    Raises:
        ModuleNotFoundError: neither has it.
        Exception: whatever the module raises.
    """
    head = name.partition(".")[0]
    if head not in PACKAGES:
        _FINDER.take(head)
    return _Importer((Path.cwd(),)).module(name)


class _Loader(SourceFileLoader):
    """Executes a file of the user's with the rule as its ``__import__``."""

    def exec_module(self, module: ModuleType) -> None:
        path = Path(self.path)
        within_package = self.name.count(".") - self.name.startswith(_BESIDE) + (path.stem == "__init__")
        folders = (*path.parents[: within_package + 1], Path.cwd())
        importer = _Importer(tuple(dict.fromkeys(folders)))
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": importer}
        super().exec_module(module)

    def get_code(self, fullname: str) -> CodeType | None:
        """Compiled anew from the source. Bytecode that Python keeps would lie beside the user's file, and is known by
        the source's second and size: it would be run in place of a source that was changed within that second."""
        return self.source_to_code(self.get_data(self.path), self.path)


class _Finder:
    """Gives that loader to the modules below some top-level names."""

    def __init__(self) -> None:
        self._heads: set[str] = set()

    def take(self, head: str) -> None:
        self._heads.add(head)
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] not in self._heads:
            return None
        others = (f for f in sys.meta_path if f is not self)
        spec = next((s for f in others if (s := f.find_spec(name, path, target)) is not None), None)
        if spec is not None and spec.origin is not None and spec.origin.endswith(".py"):
            spec.loader = _Loader(name, spec.origin)
        return spec


_FINDER = _Finder()
_BESIDE = "beside_"


@dataclass(frozen=True)
class _Importer:
    """``__import__`` under the rule above, with the folders where the user's own modules are looked for."""

    folders: tuple[Path, ...]

    def __call__(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> object:
        python = builtins.__import__
        if level:
            return python(name, globals, locals, fromlist or (), level)
        head = name.partition(".")[0]
        if head not in PACKAGES:
            try:
                return python(name, globals, locals, fromlist or (), level)
            except ModuleNotFoundError:
                if not self._beside(head):
                    raise
        if not fromlist:
            self.module(name)
            return _Both(head, self) if self._beside(head) else self.module(head)
        if "*" in fromlist:
            return self.module(name)
        return SimpleNamespace(**{wanted: self.attribute(name, wanted) for wanted in fromlist})

    def module(self, name: str) -> ModuleType:
        """Ours, or else the user's."""
        ours = _found(_full(name))
        module = self._theirs(name) if ours is None else ours
        if module is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return module

    def attribute(self, name: str, wanted: str) -> object:
        """What ``from name import wanted`` gives."""
        ours = _found(_full(name))
        if ours is not None and _has(ours, wanted):
            return getattr(ours, wanted)
        theirs = self._theirs(name)
        if theirs is not None and _has(theirs, wanted):
            return getattr(theirs, wanted)
        if ours is None and theirs is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        files = " or ".join(f"{m.__name__!r} ({m.__file__})" for m in (ours, theirs) if m is not None)
        raise ImportError(f"cannot import name {wanted!r} from {files}", name=name)

    def _theirs(self, name: str) -> ModuleType | None:
        """The user's module of that name beside the file or in the working directory, if there is one."""
        head, dot, rest = name.partition(".")
        found = (_found(f"{own}{dot}{rest}") for own in self._beside(head))
        return next((module for module in found if module is not None), None)

    def _beside(self, head: str) -> list[str]:
        """Full names of the user's modules or packages called ``head``; none is executed."""
        ours = _found(_full(head)) if head in PACKAGES else None
        # A file in the root of a checkout has our own packages beside it.
        places = {Path(p).resolve() for p in ours.__path__} if ours is not None else set()
        names = [f"{_package(f)}.{head}" for f in self.folders if (f / head).resolve() not in places]
        return [name for name in names if importlib.util.find_spec(name) is not None]


class _Both(ModuleType):
    """What ``import models`` binds: our package, and what it lacks from the user's module of that name."""

    def __init__(self, name: str, importer: _Importer) -> None:
        super().__init__(name)
        self._importer = importer

    def __getattr__(self, wanted: str) -> object:
        if wanted.startswith("__"):
            return getattr(self._importer.module(self.__name__), wanted)
        try:
            return self._importer.attribute(self.__name__, wanted)
        except ImportError as error:
            raise AttributeError(str(error)) from error


def _full(name: str) -> str:
    return PREFIX + name if name.partition(".")[0] in PACKAGES else name


def _found(name: str) -> ModuleType | None:
    """The module, or None if there is none of that name; one that fails to import raises."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not _absent(name, error):
            raise
        return None


def _absent(name: str, error: ModuleNotFoundError) -> bool:
    """Whether it is the module itself that is missing, and not one that it imports."""
    return error.name is not None and f"{name}.".startswith(f"{error.name}.")


def _has(module: ModuleType, name: str) -> bool:
    return hasattr(module, name) or _found(f"{module.__name__}.{name}") is not None


def _package(folder: Path) -> str:
    """A package of a private name whose modules are the files of a folder, so that they replace nobody's."""
    name = f"{_BESIDE}{hashlib.sha1(str(folder.resolve()).encode()).hexdigest()[:8]}"
    if name not in sys.modules:
        package = ModuleType(name, f"The user's modules in {folder}.")
        package.__path__ = [str(folder)]
        sys.modules[name] = package
        _FINDER.take(name)
    return name

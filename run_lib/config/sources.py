"""The source of a user's components: plugins, modules that registered what is chosen, and what these import."""

from __future__ import annotations

import ast
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from run_lib.config.bare_names import PACKAGES
from run_lib.config.configuration import Configuration
from run_lib.config.roles import ROLES
from run_lib.fingerprint import of_files

ROOT = Path(__file__).parents[2]
LIBRARIES = frozenset(
    Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")
)


@dataclass(frozen=True)
class _Import:
    """``from .a.b import c`` of a file: level 1, names a.b and a.b.c."""

    level: int
    name: str


def components_hash(configuration: Configuration) -> str:
    """The hash of the files of all components that are not this program's own; empty: there are none."""
    files = user_files(configuration)
    return of_files(files) if files else ""


def user_files(configuration: Configuration) -> set[Path]:
    """Those files: what plugins and chosen components are made in, and the user's modules that they import."""
    found: set[Path] = set()
    waiting = [path for path in _roots(configuration) if not _ours(path)]
    packages = {path.parent for path in waiting if (path.parent / "__init__.py").is_file()}
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        for needed in _imported(path):
            if not _ours(needed) and (not _library(needed) or any(p in needed.parents for p in packages)):
                waiting.append(needed)
    return found


def _roots(configuration: Configuration) -> Iterator[Path]:
    for name in filter(None, (part.strip() for part in configuration.values.plugins.split(","))):
        if name.endswith(".py"):
            yield Path(name).resolve()
        else:
            yield from _file_of(name)
    for role in ROLES.values():
        name = role.chosen(configuration.values)
        if name is not None and name in role.choices:
            yield from _file_of(getattr(role.choices[name], "__module__", None) or "")


def _file_of(module: str) -> Iterator[Path]:
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is not None and file.endswith(".py"):
        yield Path(file).resolve()


def _ours(path: Path) -> bool:
    return path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in PACKAGES


def _library(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in LIBRARIES)


def _imported(path: Path) -> Iterator[Path]:
    """Files of the modules that a file imports, as far as they are Python's source: beside it, or loaded."""
    for one in _imports(path):
        parts = tuple(filter(None, one.name.split(".")))
        if one.level:
            folders = [path.parents[one.level - 1]]
        else:
            yield from _file_of(one.name)
            folders = [*_folders(path), Path.cwd()]
        for folder in folders:
            for count in range(len(parts) + 1):
                place = folder.joinpath(*parts[:count])
                for file in (place.with_suffix(".py") if count else place, place / "__init__.py"):
                    if file.is_file() and (count or one.level):
                        yield file.resolve()


def _folders(path: Path) -> Iterator[Path]:
    """Where a file's modules are looked for: its folder and, of a package's, those that the package lies in."""
    yield path.parent
    for folder in path.parents:
        if not (folder / "__init__.py").is_file():
            break
        yield folder.parent


def _imports(path: Path) -> Iterator[_Import]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # Python cannot import it either, and says so to whoever does
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (_Import(0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield _Import(node.level, node.module or "")
            yield from (_Import(node.level, f"{node.module or ''}.{alias.name}") for alias in node.names)

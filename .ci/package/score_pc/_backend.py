"""The build: setuptools', and a wheel is made from a copy in which one package holds all of ours.

The repository has its packages at the top level. Installed there, ``models`` and ``configs`` would stand in the way of
everybody's modules of such names. A wheel therefore holds ``score_pc`` alone, with ``score_pc.models`` and the rest.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
)

from score_pc import PACKAGES
from score_pc._rewrite import PACKAGE, rewrite

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "prepare_metadata_for_build_editable",
]

OF_THE_REPOSITORY = ("_backend.py", "_checkout.py", "_rewrite.py")
"""Files of ``score_pc`` that a wheel has no use for."""


def build_wheel(
    wheel_directory: str,
    config_settings: Mapping[str, str | list[str] | None] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """A wheel of the repository in the working directory; its file's name."""
    target = str(Path(wheel_directory).resolve())
    with tempfile.TemporaryDirectory() as folder:
        one_package(Path.cwd(), Path(folder))
        with _inside(folder):
            name: str = build_meta.build_wheel(target, config_settings)
    return name


def one_package(root: Path, target: Path) -> None:
    """Copy the repository's packages and main.py into ``target/score_pc``, rewritten for their new place.

    Raises:
        ValueError: an import that cannot be rewritten; the file is named.
    """
    package = target / PACKAGE
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(__file__).parent, package, ignore=ignore)
    for name in OF_THE_REPOSITORY:
        (package / name).unlink()
    for name in PACKAGES:
        shutil.copytree(root / name, package / name, ignore=ignore)
    shutil.copy(root / "main.py", package)

    modules = set(_modules(package))
    for name in ("main.py", *PACKAGES):
        for file in [package / name] if name.endswith(".py") else sorted((package / name).rglob("*.py")):
            try:
                file.write_text(
                    rewrite(file.read_text(encoding="utf-8"), modules.__contains__), encoding="utf-8"
                )
            except ValueError as error:
                raise ValueError(f"{file.relative_to(package)}, {error}") from error

    for name in ("README.md", "LICENSE"):
        shutil.copy(root / name, target)
    settings = (root / "pyproject.toml").read_text(encoding="utf-8")
    top_level = 'py-modules = ["main"]\n'
    if settings.count(top_level) != 1:
        raise ValueError(
            f"pyproject.toml must have the line {top_level.strip()!r}, which a wheel leaves out."
        )
    (target / "pyproject.toml").write_text(settings.replace(top_level, ""), encoding="utf-8")


def _modules(package: Path) -> Iterator[str]:
    """Dotted names, as in the repository, of all modules that are ours there."""
    for name in PACKAGES:
        for file in (package / name).rglob("*.py"):
            parts = file.relative_to(package).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    yield "main"


@contextlib.contextmanager
def _inside(folder: str) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)

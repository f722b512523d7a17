"""The trial of a mutant: its tests, in a process of its own.

Everything is imported, and every test collected, once; each mutant then gets a child of that process. In the child the
changed function's code takes the place of the original's wherever it is held. A mutant of code that runs at import
gets a child of a process that has imported the libraries alone. No process here has a thread when it forks: torch
starts its own at the first large operation, and none is made before.
"""

from __future__ import annotations

import contextlib
import enum
import gc
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.mutation.mutants import Mutant

WALL = 400.0
"""Seconds after which a child is ended, whatever it does."""


class Verdict(enum.Enum):
    """What a child's exit status says."""

    SURVIVED = 0
    KILLED = 1
    NOT_SWAPPED = 3
    TIMEOUT = 4


class Failures:
    """A plugin of pytest that notes the names of tests that fail."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.names.append(report.nodeid)


class Functions:
    """The functions of this process by the file and place of their code."""

    def __init__(self, root: Path) -> None:
        self.held: dict[str, list[types.FunctionType]] = {}
        for found in gc.get_objects():
            # Not isinstance, which asks lazy objects of libraries for a class that they warn of.
            if type(found) is types.FunctionType and found.__code__.co_filename.startswith(str(root)):
                self.held.setdefault(found.__code__.co_filename, []).append(found)

    def swap(self, file: Path, source: bytes, wanted: str) -> bool:
        """Give the functions of a file the code of another source; False where ``wanted``'s cannot be given."""
        codes: dict[tuple[str, int], types.CodeType | None] = {}
        for code in _codes(compile(source, str(file), "exec", dont_inherit=True)):
            place = (code.co_qualname, code.co_firstlineno)  # type: ignore[attr-defined]
            codes[place] = None if place in codes else code  # two lambdas of one line are not told apart
        swapped = False
        for function in self.held.get(str(file), []):
            old = function.__code__
            new = codes.get((old.co_qualname, old.co_firstlineno))  # type: ignore[attr-defined]
            if new is None or new.co_freevars != old.co_freevars:
                if old.co_qualname == wanted:  # type: ignore[attr-defined]
                    return False
                continue
            function.__code__ = new
            swapped = swapped or old.co_qualname == wanted  # type: ignore[attr-defined]
        return swapped


def _codes(code: types.CodeType) -> Iterable[types.CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from _codes(constant)


def forked(work: Callable[[], Verdict], seconds: float) -> Verdict:
    """The verdict of some work in a child of this process, which may use so many seconds of processor time."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        _child(work, seconds)
    deadline = time.monotonic() + WALL
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return Verdict.TIMEOUT
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what a test of it has left running
    if os.WIFSIGNALED(status):
        return Verdict.TIMEOUT if os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL) else Verdict.KILLED
    code = os.WEXITSTATUS(status)
    return Verdict(code) if code in (0, 1, 3) else Verdict.KILLED


def _child(work: Callable[[], Verdict], seconds: float) -> NoReturn:
    code = Verdict.KILLED.value
    try:
        os.setpgid(0, 0)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        limit = int(seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
        resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
        code = work().value
    finally:
        os._exit(code)  # whatever it was: the parent's clean-up is not the child's


def run_items(session: pytest.Session, names: list[str], note: Path, *, all_of_them: bool = False) -> Verdict:
    """Run collected tests to the first failure, whose name is written to ``note``."""
    config: Any = session.config
    wanted = set(names)
    items = [item for item in session.items if item.nodeid in wanted]
    folder = Path(tempfile.mkdtemp(prefix="trial-"))
    config._tmp_path_factory._basetemp = folder
    failures = Failures()
    config.pluginmanager.register(failures)
    try:
        for item, following in zip(items, [*items[1:], None], strict=True):
            config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if failures.names and not all_of_them:
                break
    except BaseException as error:
        failures.names.append(f"{type(error).__name__} in {item.nodeid}")
    note.write_text("\n".join(failures.names))
    shutil.rmtree(folder, ignore_errors=True)
    return Verdict.KILLED if failures.names else Verdict.SURVIVED


class Warm:
    """A plugin of pytest that tries mutants instead of running the tests that it has collected."""

    def __init__(self, work: Callable[[pytest.Session, Functions], None], root: Path) -> None:
        self.work, self.root = work, root

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Interrupted(f"{session.testsfailed} errors of collection")
        gc.collect()
        functions = Functions(self.root)
        gc.freeze()
        self.work(session, functions)
        return True


class Selected:
    """A plugin of pytest that runs the tests of these names alone, to the first failure."""

    def __init__(self, names: list[str], note: Path) -> None:
        self.names, self.note = set(names), note

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid in self.names]

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            self.note.write_text("errors of collection")
            os._exit(Verdict.KILLED.value)
        os._exit(run_items(session, [item.nodeid for item in session.items], self.note).value)


def run_cold(names: list[str], arguments: list[str], note: Path) -> Verdict:
    """Import the project, collect the files of the tests and run them; ends the process where it comes so far."""
    files = sorted({name.partition("::")[0] for name in names})
    pytest.main([*arguments, *files], plugins=[Selected(names, note)])
    note.write_text("pytest did not start")
    return Verdict.KILLED


def changed(tree: Path, mutant: Mutant) -> Any:
    """A context in which the file in the tree is the mutant's."""
    return _Changed(tree / mutant.path, mutant)


class _Changed:
    def __init__(self, file: Path, mutant: Mutant) -> None:
        self.file, self.mutant, self.source = file, mutant, file.read_bytes()

    def __enter__(self) -> bytes:
        after = self.mutant.applied(self.source)
        self._write(after)
        return after

    def __exit__(self, *error: object) -> None:
        self._write(self.source)

    def _write(self, source: bytes) -> None:
        for compiled in (self.file.parent / "__pycache__").glob(f"{self.file.stem}.*.pyc"):
            compiled.unlink()
        self.file.write_bytes(source)

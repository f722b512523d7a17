"""Which tests reach which line, and how long each takes."""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.mutation.mutants import Mutant


@dataclass
class Reached:
    """Tests by the lines that they reach.

    Attributes:
        seconds: of processor time that each test took, by its name.
        lines: names of tests by file and line; a line that runs at import alone has none.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[str, dict[int, list[str]]] = field(default_factory=dict)

    def tests(self, mutant: Mutant, *, by_all: bool = False) -> list[str]:
        """The tests of a mutant: those that reach its statement, the quickest first.

        What runs at import is reached by whoever reaches anything of its module; ``by_all``: by all tests.
        """
        if by_all and not mutant.function:
            return sorted(self.seconds, key=lambda name: (self.seconds[name], name))
        first, last = mutant.lines
        of_file = self.lines.get(mutant.path, {})
        names = {name for line, tests in of_file.items() if first <= line <= last for name in tests}
        if not names and not mutant.function:
            names = {name for tests in of_file.values() for name in tests}
        return sorted(names, key=lambda name: (self.seconds.get(name, 0.0), name))

    def add(self, other: Reached) -> None:
        """Take in what another run of other tests has found."""
        self.seconds |= other.seconds
        for path, lines in other.lines.items():
            mine = self.lines.setdefault(path, {})
            for line, tests in lines.items():
                mine[line] = sorted({*mine.get(line, []), *tests})

    def write(self, path: Path) -> None:
        path.write_text(json.dumps({"seconds": self.seconds, "lines": self.lines}))

    @classmethod
    def read(cls, path: Path) -> Reached:
        held = json.loads(path.read_text())
        lines = {file: {int(n): tests for n, tests in of.items()} for file, of in held["lines"].items()}
        return cls(held["seconds"], lines)


def forget(root: Path) -> None:
    """Empty the caches of functions of the project, whose lines would run in the first test alone that needs them."""
    for module in list(sys.modules.values()):
        if str(getattr(module, "__file__", None)).startswith(str(root)):
            for held in list(vars(module).values()):
                if isinstance(held, functools._lru_cache_wrapper):
                    held.cache_clear()


class Watch:
    """A plugin of pytest that notes under each test's name which lines run, by coverage.py's contexts."""

    def __init__(self, coverage: Any, root: Path) -> None:
        self.coverage, self.root = coverage, root
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, None, None]:
        forget(self.root)
        self.coverage.switch_context(item.nodeid)
        started = time.process_time()
        yield
        self.seconds[item.nodeid] = time.process_time() - started
        self.coverage.switch_context("")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed or report.skipped:
            self.failed.add(report.nodeid)


def watch(root: Path, packages: list[str], arguments: list[str], file: Path) -> int:
    """Run tests and write what each reaches to a file; returns 0. Failed and skipped tests are left out.

    To be called in a process that has imported nothing of the project.
    """
    import coverage

    patterns = [f"{root}/{package}/*" for package in packages]
    measured = coverage.Coverage(data_file=None, include=patterns, config_file=False)
    measured.start()
    plugin = Watch(measured, root)
    pytest.main(arguments, plugins=[plugin])
    measured.stop()
    data, found = measured.get_data(), Reached()
    found.seconds = {name: s for name, s in plugin.seconds.items() if name not in plugin.failed}
    for name in data.measured_files():
        found.lines[str(Path(name).relative_to(root))] = {
            line: [test for test in tests if test in found.seconds]
            for line, tests in data.contexts_by_lineno(name).items()
        }
    found.write(file)
    print(f"{len(found.seconds)} tests, {len(plugin.failed)} failed or skipped: {sorted(plugin.failed)[:10]}")
    return 0

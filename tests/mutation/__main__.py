"""Mutation testing: are there tests that fail when a line is wrong?

    python -m tests.mutation --seed 1 --count 300 --out FOLDER

Draws mutants of the packages by a seed, runs each against the tests that reach its line, and prints the share that
some test kills and the survivors. All is done in a copy of the tree, one process at a time. ``FOLDER/mutants.jsonl``
has a line for each mutant as soon as it is tried: the same command goes on where it was stopped.
``FOLDER/reached.json`` has which test reaches which line, and is made once: after a change of the code take another
folder. After new tests,

    python -m tests.mutation --out FOLDER --again tests/run_lib/test_passed_on.py

tries the survivors against these. coverage.py is needed, of ``pip install -e ".[dev]"``.
"""

from __future__ import annotations

import argparse
import compileall
import importlib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.reached import Reached, forget, watch
from tests.mutation.trial import Functions, Verdict, Warm, changed, forked, run_cold, run_items

PACKAGES = ["run_lib", "models/prediction", "losses"]
NOT_BY_BEHAVIOUR = ["tests/packaging/test_rewrite.py", "tests/packaging/test_wheel.py", "tests/test_architecture.py",
                    "tests/test_readme.py"]  # fmt: skip
"""Tests of the source, which every change of it may fail."""
LIBRARIES = ["torch.utils.tensorboard", "torchvision.datasets", "scipy.stats", "scipy.integrate", "scipy.optimize",
             "ml_collections", "absl.app", "matplotlib.pyplot", "sklearn.neighbors", "skimage.metrics", "PIL.Image",
             "safetensors.torch", "tqdm", "_pytest.assertion.rewrite"]  # fmt: skip
QUIET = ["-q", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow"]


@dataclass(frozen=True)
class Tried:
    """A mutant and what became of it.

    Attributes:
        verdict: ``killed``, ``timeout``, ``survived``, or ``not reached`` by any test.
        by: the test that failed.
        tests: how many reach it.
        left: how many of them were not run, for want of ``--seconds``.
    """

    mutant: Mutant
    verdict: str
    by: str
    tests: int
    left: int

    def line(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, line: str) -> Tried:
        held = json.loads(line)
        mutant = Mutant(**{**held["mutant"], "lines": tuple(held["mutant"]["lines"])})
        return cls(mutant, held["verdict"], held["by"], held["tests"], held["left"])


class Trials:
    """The mutants to try in a tree, and the file in which their verdicts are kept."""

    def __init__(self, tree: Path, out: Path, reached: Reached, seconds: float, *, by_all: bool) -> None:
        self.tree, self.out, self.reached, self.seconds = tree, out, reached, seconds
        self.by_all = by_all  # code that runs at import is tried by all tests
        self.note = out / "failed.txt"

    def affordable(self, mutant: Mutant) -> tuple[list[str], float]:
        """The quickest of the mutant's tests, of every function one before the next of any, and their seconds."""
        rounds: Counter[str] = Counter()
        ranked = []
        for name in self.reached.tests(mutant, by_all=self.by_all):
            function = name.partition("[")[0]
            ranked.append((rounds[function], len(ranked), name))
            rounds[function] += 1
        chosen, spent = [], 0.0
        for _, _, name in sorted(ranked):
            cost = self.reached.seconds.get(name, 0.0)
            if chosen and spent + cost > self.seconds:
                continue
            chosen.append(name)
            spent += cost
        return chosen, spent

    def try_warm(self, mutants: list[Mutant]) -> list[Mutant]:
        """Try mutants in children of a process that has collected all; returns those that need a cold one."""
        cold: list[Mutant] = []
        notes = self.out / "cold.txt"

        def work(session: pytest.Session, functions: Functions) -> None:
            for place, mutant in enumerate(mutants):
                chosen, spent = self.affordable(mutant)
                if not chosen:
                    self.tell(mutant, "not reached", "", 0)
                    continue
                with changed(self.tree, mutant) as source:

                    def attempt(
                        mutant: Mutant = mutant, source: bytes = source, chosen: list[str] = chosen
                    ) -> Verdict:
                        if not functions.swap(self.tree / mutant.path, source, mutant.function):
                            return Verdict.NOT_SWAPPED
                        forget(self.tree)
                        return run_items(session, chosen, self.note)

                    verdict = forked(attempt, 20 + 5 * spent)
                if verdict is Verdict.NOT_SWAPPED:
                    with notes.open("a") as file:
                        file.write(f"{place}\n")
                else:
                    self.verdict(mutant, verdict, len(chosen))

        notes.write_text("")
        files = sorted({name.partition("::")[0] for m in mutants for name in self.affordable(m)[0]})
        if files:
            _in_child(lambda: int(pytest.main([*QUIET, *files], plugins=[Warm(work, self.tree)])))
        else:
            for mutant in mutants:
                self.tell(mutant, "not reached", "", 0)
        cold = [mutants[int(place)] for place in notes.read_text().split()]
        notes.unlink()
        return cold

    def try_cold(self, mutant: Mutant) -> None:
        """Try a mutant in a process that imports the project with it."""
        chosen, spent = self.affordable(mutant)
        if not chosen:
            self.tell(mutant, "not reached", "", 0)
            return
        with changed(self.tree, mutant):
            verdict = forked(lambda: run_cold(chosen, QUIET, self.note), 60 + 5 * spent)
        self.verdict(mutant, verdict, len(chosen))

    def acquit(self) -> None:
        """Run the tests that have killed, on the source as it is: a mutant killed by one that fails then survives."""
        killed = [tried for tried in results(self.out) if tried.verdict == "killed" and "::" in tried.by]
        names = sorted({tried.by for tried in killed} & set(self.reached.seconds))
        seconds = sum(self.reached.seconds[name] for name in names)

        def work(session: pytest.Session, functions: Functions) -> None:
            forked(lambda: run_items(session, names, self.note, all_of_them=True), 60 + 5 * seconds)

        if names:
            files = sorted({name.partition("::")[0] for name in names})
            _in_child(lambda: int(pytest.main([*QUIET, *files], plugins=[Warm(work, self.tree)])))
            failing = self.note.read_text().split("\n")
            self.note.unlink()
            print(
                f"{len(names)} tests killed; without a change {len(list(filter(None, failing)))} of them fail"
            )
            for tried in killed:
                if tried.by in failing:
                    self.tell(tried.mutant, "survived", f"{tried.by} fails anyway", tried.tests - tried.left)

    def verdict(self, mutant: Mutant, verdict: Verdict, run: int) -> None:
        by = self.note.read_text().split("\n")[0] if verdict is Verdict.KILLED and self.note.is_file() else ""
        self.note.unlink(missing_ok=True)
        self.tell(mutant, verdict.name.lower(), by, run)

    def tell(self, mutant: Mutant, verdict: str, by: str, run: int) -> None:
        tests = len(self.reached.tests(mutant, by_all=self.by_all))
        with (self.out / "mutants.jsonl").open("a") as file:
            file.write(Tried(mutant, verdict, by, tests, tests - run).line() + "\n")
        print(f"{verdict:<11} {mutant}  {by}", flush=True)


def _in_child(work: Callable[[], int]) -> None:
    """Some work in a child, so that what it imports stays there; it returns a status, 0 where all went well."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = work()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    if status := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise RuntimeError(f"a child ended with status {status}; what it printed is above.")


def drawn(tree: Path, seed: int, count: int) -> list[Mutant]:
    """So many mutants of the packages, each equally likely."""
    every = [
        mutant
        for package in PACKAGES
        for file in sorted((tree / package).rglob("*.py"))
        for mutant in mutants_of(str(file.relative_to(tree)), file.read_bytes())
    ]
    print(f"{len(every)} mutants of {', '.join(PACKAGES)}; {count} drawn by seed {seed}")
    return random.Random(seed).sample(every, min(count, len(every)))


def copied_tree(folder: Path) -> Path:
    """A copy of the repository's files, compiled."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            capture_output=True, text=True, check=True)  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if Path(name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(Path(name).read_bytes())
    compileall.compile_dir(folder, quiet=1)
    return folder


def results(out: Path) -> Iterator[Tried]:
    """The latest verdict of each mutant."""
    latest: dict[Mutant, Tried] = {}
    file = out / "mutants.jsonl"
    for line in file.read_text().splitlines() if file.is_file() else ():
        tried = Tried.read(line)
        latest[tried.mutant] = tried
    yield from latest.values()


def report(out: Path) -> None:
    """Print the share that is killed, by package and by kind of change, and the survivors."""
    every = sorted(results(out), key=lambda tried: (tried.mutant.path, tried.mutant.start))
    for what, key in (("package", lambda m: m.path.split("/")[0]), ("change", lambda m: m.operator)):
        print(f"\n{what:<20} mutants  killed")
        for name in sorted({key(tried.mutant) for tried in every}):
            of = [tried.verdict in ("killed", "timeout") for tried in every if key(tried.mutant) == name]
            print(f"{name:<20} {len(of):>7}  {sum(of):>6}")
    killed = sum(tried.verdict in ("killed", "timeout") for tried in every)
    print(f"\n{killed} of {len(every)} killed: {100 * killed / max(len(every), 1):.1f} %\n")
    survivors = [tried for tried in every if tried.verdict not in ("killed", "timeout")]
    for tried in survivors:
        print(f"{tried.verdict}: {tried.mutant} ({tried.tests - tried.left} of {tried.tests} tests)")
    (out / "survivors.json").write_text(json.dumps([asdict(tried) for tried in survivors], indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description="mutation testing")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--out", type=Path, required=True, help="folder of results")
    parser.add_argument("--seconds", type=float, default=60, help="of tests for a mutant, at most")
    parser.add_argument("--tests", nargs="+", default=["tests"], help="files of tests")
    parser.add_argument("--again", nargs="+", help="files of tests: try the survivors against these")
    parser.add_argument("--report", action="store_true", help="print the table and end")
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if options.report:
        return report(out)

    sys.dont_write_bytecode = True
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        tree = copied_tree(Path(folder).resolve())
        os.chdir(tree)
        sys.path[:] = [place for place in sys.path if place and Path(place) != Path(__file__).parents[2]]
        for library in LIBRARIES:
            importlib.import_module(library)
        map_file = out / (f"reached_{os.getpid()}.json" if options.again else "reached.json")
        if not map_file.is_file():
            chosen = options.again or [path for path in options.tests if path not in NOT_BY_BEHAVIOUR]
            ignored = [f"--ignore={path}" for path in NOT_BY_BEHAVIOUR]
            _in_child(lambda: watch(tree, PACKAGES, [*QUIET, *ignored, *chosen], map_file))
        found = Reached.read(map_file)
        if options.again:
            map_file.unlink()
            known = Reached.read(out / "reached.json")
            known.add(found)
            known.write(out / "reached.json")
        trials = Trials(tree, out, found, options.seconds, by_all=bool(options.again))
        done = {tried.mutant: tried for tried in results(out)}
        if options.again:
            left = [m for m, tried in done.items() if tried.verdict not in ("killed", "timeout")]
            left = [m for m in left if trials.reached.tests(m, by_all=True)]
        else:
            left = [m for m in drawn(tree, options.seed, options.count) if m not in done]
        cold = [m for m in left if not m.function]
        cold += trials.try_warm([m for m in left if m.function])
        for mutant in cold:
            trials.try_cold(mutant)
        trials.acquit()
    return report(out)


if __name__ == "__main__":
    main()

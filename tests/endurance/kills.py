"""Runs of every mode that are killed at random moments, started again until they end, and compared with whole ones.

    python -m tests.endurance.kills --kills 200
    python -m tests.endurance.kills --each

The second kills one run of each mode by SIGKILL and then by SIGTERM. Every run is a process of its own, forked from
this one, which has imported everything: what is killed is work and no imports. Everything that a run has written must
be, bit for bit, what a run that nothing disturbed has written; nothing may be left over, and no process may outlive
the one that started it.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib.backends.backend_agg
import matplotlib.figure  # noqa: F401
import skimage.metrics  # noqa: F401
import sklearn.datasets
import sklearn.model_selection
import sklearn.svm  # noqa: F401
import tensorboard.compat.proto.event_pb2
import tensorboard.summary.writer.record_writer  # noqa: F401
import torch
import torch.utils.tensorboard.summary
import torchvision.utils  # noqa: F401

import main
import run_lib.convert
import run_lib.editing.control
import run_lib.editing.reconstruct
import run_lib.evaluation.evaluate
import run_lib.training.loop
import run_lib.tuning.tune  # noqa: F401
from run_lib.locks import FILE
from tests.endurance.written import differences, written

TINY = Path(__file__).parents[1] / "run_lib/tiny.py"
MARK = "SCORE_PC_KILLS"
"""A variable in the environment of every process that a run starts."""
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGTERM, signal.SIGINT)
"""Drawn with equal chances."""
EACH = (signal.SIGKILL, signal.SIGTERM)
"""That every case meets with ``--each``."""
PATIENCE = 60.0
"""Seconds after which a process that outlives its parent is an orphan: a fresh interpreter imports everything before it
can look for its parent, which takes half a minute where other work has the processors."""

CASES = {
    "train": ["train", "training.n_iters=24", "training.snapshot_freq=8", "training.snapshot_sampling=True"],
    "eval": ["eval", "eval.enable_loss=True"],
    "sample": ["sample", "sampling.num_samples=40", "sampling.trajectory=2"],
    "tune": ["tune", "tune.sweep=num_steps=2,4", "tune.repeats=3", "tune.num_samples=80"],
    "tune, 2 processes": ["tune", "tune.sweep=num_steps=2,4", "tune.repeats=2", "tune.num_samples=80",
                          "tune.processes=2"],
    "control": ["control", "control.task=inpaint", "control.input=test", "control.num_images=24"],
    "reconstruct": ["reconstruct", "reconstruct.input=test", "reconstruct.num_images=24",
                    "reconstruct.batch_size=4"],
}  # fmt: skip
"""Mode and settings by the name of the case."""
SHARES = {"tune, 2 processes": 0.25}
"""Kills beside one of the others: its interpreters take seconds to begin."""


@dataclass
class Tally:
    """What happened to the runs of one case."""

    runs: int = 0
    signals: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    whole: float = 0.0

    @property
    def kills(self) -> int:
        return sum(self.signals.values())


@dataclass(frozen=True)
class Child:
    """A run of the program in a forked process; what it prints goes to a file."""

    pid: int
    log: Path

    @classmethod
    def start(cls, case: str, workdir: Path, log: Path) -> Child:
        mode, *settings = CASES[case]
        argv = ["main.py", "--config", str(TINY), "--mode", mode, "--workdir", str(workdir)]
        argv += [f"--config.{setting}" for setting in settings]
        pid = os.fork()
        if pid == 0:
            _become(argv, log)
        return cls(pid, log)

    def wait(self) -> int:
        """Its exit status; the negative signal where one ended it."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def ended(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _become(argv: list[str], log: Path) -> None:
    status = 70
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.argv = argv
        try:
            main.guarded(argv)
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        sys.stderr.flush()
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def run_all(
    kills: int | None, seed: int, cases: Sequence[str], say: Callable[[str], None] = print
) -> dict[str, Tally]:
    """Disturb runs of the cases in turn until so many signals have met one at work; None: until each of ``EACH`` has
    met one of each case."""
    torch.set_num_threads(1)
    os.environ[MARK] = str(os.getpid())
    chance, tallies = random.Random(seed), {case: Tally() for case in cases}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started, trained = time.perf_counter(), folder / "trained"
        _must_end(Child.start("train", trained, folder / "log"), "train")
        wholes = {"train": trained}
        if "train" in tallies:
            tallies["train"].whole = time.perf_counter() - started
        for case in (case for case in cases if case != "train"):
            wholes[case] = _workdir(case, folder / "whole" / case, trained)
            started = time.perf_counter()
            _must_end(Child.start(case, wholes[case], folder / "log"), case)
            tallies[case].whole = time.perf_counter() - started
        expected = {case: written(wholes[case]) for case in cases}

        def disturb(case: str, signals: Sequence[signal.Signals], until: float) -> None:
            tally, workdir = tallies[case], _workdir(case, folder / "killed", trained)
            moments = [(number, chance.uniform(0, until)) for number in signals]
            _disturb(case, workdir, folder / "log", moments, tally)
            tally.wrong += [f"{name} differs" for name in differences(expected[case], written(workdir))]
            tally.wrong += _left_over(workdir)
            shutil.rmtree(workdir)
            say(f"{sum(tally.kills for tally in tallies.values()):4d} {case}")

        if kills is None:
            for case, tally in tallies.items():
                until = 0.8 * tally.whole
                while missed := [number for number in EACH if not tally.signals[number.name]]:
                    disturb(case, missed, until)
                    until *= 0.7  # one that came too late comes earlier
            return tallies
        while sum(tally.kills for tally in tallies.values()) < kills:
            case = min(cases, key=lambda one: tallies[one].kills / SHARES.get(one, 1))
            disturb(case, chance.choices(SIGNALS, k=chance.randint(1, 4)), tallies[case].whole)
    return tallies


def _workdir(case: str, workdir: Path, trained: Path) -> Path:
    if case == "train":
        workdir.mkdir(parents=True)
    else:
        shutil.copytree(trained / "checkpoints", workdir / "checkpoints")
    return workdir


def _must_end(child: Child, case: str) -> None:
    if child.wait() != 0:
        raise RuntimeError(f"{case} fails undisturbed:\n{child.log.read_text()}")


def _disturb(
    case: str, workdir: Path, log: Path, signals: Sequence[tuple[signal.Signals, float]], tally: Tally
) -> None:
    """Start a run, and start it again after each signal, which comes so many seconds later, until it ends of itself."""
    started = time.perf_counter()
    for number, seconds in signals:
        child = Child.start(case, workdir, log)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end and not child.ended():
            time.sleep(0.002)
        met = not child.ended()
        if met:
            os.kill(child.pid, number)
        status = child.wait()
        tally.signals[number.name] += met
        tally.wrong += _orphans(case)
        if said := _wrong_end(number, status, log.read_text(errors="replace")):
            tally.wrong.append(f"{number.name}: {said}")
        if status == 0:
            break
    child = Child.start(case, workdir, log)
    if (status := child.wait()) != 0:
        tally.wrong.append(f"ends with {status}: {log.read_text(errors='replace')[-2000:]}")
    tally.wrong += _orphans(case)
    tally.runs += 1
    tally.seconds += time.perf_counter() - started


def _wrong_end(number: signal.Signals, status: int, printed: str) -> str:
    """What is wrong with the end of a run that a signal met; nothing where it had ended."""
    if status in (0, -number):  # before it watches for signals, and by SIGKILL, the system ends it
        return ""
    line = f"stopped by {number.name}: "
    if status != 128 + number or printed.count("stopped by") != 1 or line not in printed:
        return f"status {status}: {printed[-2000:]}"
    return f"a traceback: {printed[-2000:]}" if "Traceback" in printed else ""


def _left_over(workdir: Path) -> list[str]:
    return [
        f"{path.relative_to(workdir)} is left"
        for path in workdir.rglob(".*")
        if path.name.startswith(".partial-") or path.name == FILE
    ]


def _orphans(case: str) -> list[str]:
    """Processes that the run has started and that outlive it for longer than a library's own take to notice."""
    end = time.perf_counter() + PATIENCE
    while (found := _marked()) and time.perf_counter() < end:
        time.sleep(0.02)
    return [f"process {pid} outlives {case}" for pid in found]


def _marked() -> list[int]:
    """Processes whose environment has the mark of this one. Those forked have the environment of this one's start."""
    mark, found = f"{MARK}={os.getpid()}".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:  # it has just ended, or is somebody else's
                continue
            if mark in environment.split(b"\0"):
                found.append(int(entry.name))
    return found


def table(tallies: dict[str, Tally]) -> str:
    """The tallies as a table, and what was wrong."""
    names = ("SIGKILL", "SIGTERM", "SIGINT")
    lines = [
        f"{'':18} {'runs':>5} " + " ".join(f"{name:>8}" for name in names) + f" {'wrong':>6} {'seconds':>8}"
    ]
    for case, tally in tallies.items():
        counts = " ".join(f"{tally.signals[name]:8d}" for name in names)
        lines.append(f"{case:18} {tally.runs:5d} {counts} {len(tally.wrong):6d} {tally.seconds:8.1f}")
    total = sum((tally.signals for tally in tallies.values()), Counter[str]())
    counts = " ".join(f"{total[name]:8d}" for name in names)
    runs, wrong = (sum(values) for values in zip(*((t.runs, len(t.wrong)) for t in tallies.values())))
    lines.append(f"{'all':18} {runs:5d} {counts} {wrong:6d} {sum(t.seconds for t in tallies.values()):8.1f}")
    return "\n".join(
        [*lines, *(f"{case}: {what}" for case, tally in tallies.items() for what in tally.wrong)]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--each", action="store_true", help="instead: every case by SIGKILL and SIGTERM")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    asked = parser.parse_args()
    found = run_all(
        None if asked.each else asked.kills,
        asked.seed,
        asked.cases,
        lambda line: print(line, file=sys.stderr),
    )
    print(table(found))
    sys.exit(any(tally.wrong for tally in found.values()))

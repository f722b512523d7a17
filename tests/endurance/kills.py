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
import math
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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
import torch._dynamo  # which optimisers import
import torch.distributed
import torch.distributed.fsdp
import torch.utils.tensorboard.summary
import torchvision.utils  # noqa: F401

import main
import run_lib.convert
import run_lib.editing.control
import run_lib.editing.reconstruct
import run_lib.evaluation.evaluate
import run_lib.evaluation.samples
import run_lib.preparation.pack
import run_lib.training.loop
import run_lib.tuning.tune
from run_lib.locks import FILE
from tests.endurance.written import differences, written
from tests.forked import end_with

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
    "eval, metrics": ["eval", "eval.enable_bpd=False", "eval.metrics=frechet@pixels,precision_recall@pca",
                      "eval.repeats=2", "eval.extractor_batch=16", "eval.by_class=True"],
    "sample": ["sample", "sampling.num_samples=40", "sampling.trajectory=2", "sampling.png=True"],
    "tune": ["tune", "tune.sweep=num_steps=2,4", "tune.repeats=3", "tune.num_samples=80"],
    "tune, 2 processes": ["tune", "tune.sweep=num_steps=2,4", "tune.repeats=2", "tune.num_samples=80",
                          "tune.processes=2"],
    "control": ["control", "control.task=inpaint", "control.input=test", "control.num_images=24"],
    "reconstruct": ["reconstruct", "reconstruct.input=test", "reconstruct.num_images=24",
                    "reconstruct.batch_size=4"],
    "pack": ["pack"],
    "train, 2 shards": ["train", "training.n_iters=24", "training.snapshot_freq=8", "training.snapshot_sampling=True",
                        "training.shard=True"],
}  # fmt: skip
"""Mode and settings by the name of the case."""
SHARES = {"tune, 2 processes": 0.25}
"""Kills beside one of the others: its interpreters take seconds to begin."""
for _mode in ("train", "eval", "eval, metrics", "sample", "tune", "control", "reconstruct", "pack"):
    CASES[f"{_mode}, 2 ranks"] = CASES[_mode]
RANKS = {_name: 2 for _name in CASES if _name.endswith((", 2 ranks", ", 2 shards"))}
"""Processes that share a work, of which a signal meets one, or all."""
GRACE = 30.0
"""Seconds that torch's launcher gives the others when one has ended."""


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
    """A run of the program in forked processes; what they print goes to a file.

    Attributes:
        pids: one, or one for each rank.
        log: the file.
        store: process of the store by which ranks find each other, as torch's launcher has one; None: there is one.
    """

    pids: tuple[int, ...]
    log: Path
    store: int | None = None

    @classmethod
    def start(cls, case: str, workdir: Path, log: Path) -> Child:
        mode, *settings = CASES[case]
        argv = ["main.py", "--config", str(TINY), "--mode", mode, "--workdir", str(workdir)]
        argv += [f"--config.{setting}" for setting in settings]
        log.write_bytes(b"")
        ranks = RANKS.get(case, 1)
        if ranks == 1:
            return cls((_fork(lambda: _become(argv, log)),), log)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        store = _fork(lambda: _serve(port))
        of_all = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
                  "TORCHELASTIC_USE_AGENT_STORE": "True"}  # fmt: skip
        found = []
        for rank in range(ranks):
            own = of_all | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            found.append(_fork(lambda own=own: _become(argv, log, own)))  # type: ignore[misc]
        return cls(tuple(found), log, store)

    def wait(self) -> list[int]:
        """The exit statuses, the negative signal where one ended a process. When one of several has failed, the others
        are ended as torch's launcher ends them."""
        statuses: dict[int, int] = {}
        failed: float | None = None
        while len(statuses) < len(self.pids):
            for pid in self.pids:
                if pid not in statuses and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                    statuses[pid] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            left = [pid for pid in self.pids if pid not in statuses]
            if failed is None and any(statuses.values()):
                failed = time.perf_counter()
                for pid in left:
                    os.kill(pid, signal.SIGTERM)
            if failed is not None and time.perf_counter() > failed + GRACE:
                for pid in left:
                    os.kill(pid, signal.SIGKILL)
                failed = math.inf
            time.sleep(0.002)
        if self.store is not None:
            os.kill(self.store, signal.SIGKILL)
            os.waitpid(self.store, 0)
        return [statuses[pid] for pid in self.pids]

    def ended(self) -> bool:
        """Whether any of its processes has."""
        return any(os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) for pid in self.pids)


def _fork(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        end_with(work)
    return pid


def _serve(port: int) -> None:
    held = torch.distributed.TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)
    while held:
        time.sleep(3600)


def _become(argv: list[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
    os.environ |= environment or {}
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.argv = argv
    main.guarded(argv)


def run_all(
    kills: int | None, seed: int, cases: Sequence[str], say: Callable[[str], None] = print
) -> dict[str, Tally]:
    """Disturb runs of the cases in turn until so many signals have met one at work; None: until each of ``EACH`` has
    met one of each case."""
    torch.set_num_threads(1)
    run_lib.preparation.pack.BLOCK = 2_000  # blocks enough to be met at one
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
            chance_of_all = random.Random(chance.random())
            _disturb(case, workdir, folder / "log", moments, tally, chance_of_all)
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
    if any(child.wait()):
        raise RuntimeError(f"{case} fails undisturbed:\n{child.log.read_text()}")


def _disturb(
    case: str,
    workdir: Path,
    log: Path,
    signals: Sequence[tuple[signal.Signals, float]],
    tally: Tally,
    chance: random.Random,
) -> None:
    """Start a run, and start it again after each signal, which comes so many seconds later, until it ends of itself.

    Of several processes the signal meets one, by chance, or all.
    """
    started = time.perf_counter()
    for number, seconds in signals:
        child = Child.start(case, workdir, log)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end and not child.ended():
            time.sleep(0.002)
        met = not child.ended()
        if met:
            for pid in chance.choice([child.pids, *((one,) for one in child.pids)]):
                os.kill(pid, number)
        began = time.perf_counter()
        statuses = child.wait()
        if (took := time.perf_counter() - began) > PATIENCE:
            tally.wrong.append(f"{number.name}: it took {took:.0f} s to end")
        tally.signals[number.name] += met
        tally.wrong += _orphans(case)
        if said := _wrong_end(number, statuses, log.read_text(errors="replace")):
            tally.wrong.append(f"{number.name}: {said}")
        if not any(statuses):
            break
    child = Child.start(case, workdir, log)
    if any(statuses := child.wait()):
        tally.wrong.append(f"ends with {statuses}: {log.read_text(errors='replace')[-2000:]}")
    tally.wrong += _orphans(case)
    tally.runs += 1
    tally.seconds += time.perf_counter() - started


def _wrong_end(number: signal.Signals, statuses: Sequence[int], printed: str) -> str:
    """What is wrong with the end of a run that a signal met; nothing where it had ended."""
    if all(status in (0, -number) for status in statuses):
        return ""  # before it watches for signals, and by SIGKILL, the system ends it
    if len(statuses) > 1:
        return _wrong_end_of_several(number, statuses, printed)
    (status,) = statuses
    line = f"stopped by {number.name}: "
    if status != 128 + number or printed.count("stopped by") != 1 or line not in printed:
        return f"status {status}: {printed[-2000:]}"
    return f"a traceback: {printed[-2000:]}" if "Traceback" in printed else ""


def _wrong_end_of_several(number: signal.Signals, statuses: Sequence[int], printed: str) -> str:
    """The same of processes that train together: they end by the signal, because one has, or as the launcher ends them;
    and each line is said once."""
    by_launcher = {-signal.SIGTERM, 128 + signal.SIGTERM, -signal.SIGKILL}
    lines = [line for line in printed.splitlines() if line.startswith(("error:", "stopped by", "Traceback"))]
    if set(statuses) <= {0, 1, -number, 128 + number, *by_launcher} and len(lines) == len(set(lines)):
        return f"a traceback: {printed[-2000:]}" if "Traceback" in printed else ""
    return f"statuses {statuses}: {printed[-2000:]}"


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

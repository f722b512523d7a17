"""One case in a child forked from a process that has imported everything, and what may not happen in it."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.cases import Case
from tests.run_lib.program import program

STATUSES = (0, 1, 2, 3)
MEMORY = 2 * 2**30
SECONDS = 60


@dataclass(frozen=True)
class Verdict:
    """How a case ended.

    Attributes:
        status: of the program; negative: of the signal that ended it.
        fault: what the invariant forbids; empty: nothing of that.
        seconds, memory: that it took; memory in bytes, with what the parent had imported.
    """

    status: int
    fault: str
    seconds: float
    memory: int


def tried(case: Case) -> Verdict:
    """Run a case in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz"))
    try:
        return _tried(case, folder)
    finally:
        shutil.rmtree(folder)


def _tried(case: Case, folder: Path) -> Verdict:
    (folder / "here").mkdir()
    sys.stdout.flush()
    started, child = time.monotonic(), os.fork()
    if child == 0:
        _child(case, folder)
    status, usage = _wait(child, started)
    seconds, memory = time.monotonic() - started, usage.ru_maxrss * 1024
    said = (folder / "err").read_text() if (folder / "err").exists() else ""
    outside = sorted(str(p.relative_to(folder)) for p in (folder / "here").rglob("*"))
    outside += sorted(p.name for p in folder.iterdir() if p.name not in ("here", "run", "err"))
    errors = [line for line in said.splitlines() if line.startswith(("error: ", "incomplete: "))]
    fault = ""
    if "Traceback" in said or status not in STATUSES:
        fault = f"status {status}: {said.strip().splitlines()[-1] if said.strip() else 'no word'}"
    elif status in (1, 2) and len(errors) != 1:
        fault = f"{len(errors)} lines of error"
    elif outside:
        fault = f"written outside the work directory: {', '.join(outside)}"
    elif memory > MEMORY:
        fault = f"{memory / 2**30:.1f} GB"
    elif seconds > SECONDS:
        fault = f"{seconds:.0f} s"
    return Verdict(status, fault, seconds, memory)


def _wait(child: int, started: float) -> tuple[int, resource.struct_rusage]:
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), usage
        if time.monotonic() - started > SECONDS:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)


def _child(case: Case, folder: Path) -> None:
    """Never returns; where something is named by a relative path, that is below ``here``."""
    status = 70
    try:
        os.chdir(folder / "here")
        resource.setrlimit(resource.RLIMIT_DATA, (3 * MEMORY, 3 * MEMORY))
        outcome = program(*case.arguments, "--workdir", folder / "run")
        (folder / "err").write_text(outcome.err)
        status = outcome.status
    except BaseException:
        (folder / "err").write_text(traceback.format_exc())
    finally:
        os._exit(status)

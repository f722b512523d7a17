"""One case in a child forked from a process that has imported everything, and what may not happen in it."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import main
from run_lib.locks import FILE as LOCK
from tests.fuzz.canary import CODE, MODULE
from tests.fuzz.cases import Case
from tests.fuzz.places import folder_of
from tests.fuzz.results import wrong_result
from tests.fuzz.watch import Watch
from tests.run_lib.program import ROOT

STATUSES = (0, 1, 2, 3)
MEMORY = 2 * 2**30
SECONDS = 60
"""Of a processor, so that a busy machine breaks no invariant."""
PATIENCE = 240
"""Seconds after which a case is ended, also one that waits."""
_SKIPPED = re.compile(r"^warning: \d+ of \d+ images could not be read and were skipped:$", re.MULTILINE)
_LINE = re.compile(r"^(?:error|incomplete): .*$", re.MULTILINE)


@dataclass(frozen=True)
class Verdict:
    """How a case ended.

    Attributes:
        status: of the program; negative: of the signal that ended it.
        fault: what the invariant forbids; empty: nothing of that.
        seconds: of a processor.
        memory: in bytes, with what the parent had imported.
        said: the last line of errors.
    """

    status: int
    fault: str
    seconds: float
    memory: int
    said: str = ""


def tried(case: Case, trained: Path, *, real: bool = False, keep: Path | None = None) -> Verdict:
    """Run a case in a folder of its own.

    Args:
        case: what is run.
        trained: holds the trained work directories.
        real: as a command line of the system's, instead of a forked child.
        keep: where folders of cases with a fault stay; None: they are removed.
    """
    folder = Path(tempfile.mkdtemp(prefix="fuzz"))
    try:
        verdict = _tried(case, folder, trained, real)
        if verdict.fault and keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            shutil.copytree(folder, keep / folder.name, symlinks=True, ignore=_pipes)
        return verdict
    finally:
        shutil.rmtree(folder)


def _pipes(where: str, names: list[str]) -> list[str]:
    return [name for name in names if Path(where, name).is_fifo()]


def prepare(case: Case, folder: Path, trained: Path) -> None:
    """Write what a case finds: a trained work directory, odd files, and what is somebody else's."""
    for name in ("here", "inputs", "outside", "out"):
        (folder / name).mkdir()
    (folder / "here" / f"{MODULE}.py").write_text(CODE)
    (folder / "outside/theirs.txt").write_text("mine\n")
    (folder / "outside/loop").symlink_to("loop")
    (folder / "inputs/flags").write_text("--mode=sample\n--workdir=../outside/ran\n")
    if case.trained and (base := trained / folder_of(case.config)).exists():
        shutil.copytree(base, folder / "run")
        (folder / "run/theirs.txt").write_text("mine\n")
    for file in case.files:
        file.write(folder, trained)


def _tried(case: Case, folder: Path, trained: Path, real: bool) -> Verdict:
    prepare(case, folder, trained)
    before = _others(folder)
    sys.stdout.flush()
    started = time.monotonic()
    child = _command(case, folder) if real else os.fork()
    if child == 0:
        _child(case, folder)
    status, usage = _wait(child, started)
    seconds, memory = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
    if real and status == 0:
        _, found = _aside(case, folder)
        (folder / "found").write_text(found)
    said = (folder / "err").read_text(errors="replace") if (folder / "err").exists() else ""
    lines = _LINE.findall(said)
    fault = wrong_end(status, said) or _outside(case, folder, before)
    if not fault and (folder / "found").exists():
        fault = (folder / "found").read_text()
    if not fault and memory > MEMORY:
        fault = f"{memory / 2**30:.1f} GB"
    if not fault and seconds > SECONDS:
        fault = f"{seconds:.0f} s"
    return Verdict(status, fault, seconds, memory, lines[-1] if lines else "")


def wrong_end(status: int, said: str) -> str:
    """What is wrong with a status and the errors that were printed."""
    lines = _LINE.findall(said)
    last = said.strip().splitlines()[-1] if said.strip() else "no word"
    if "Traceback" in said or status not in STATUSES:
        return f"status {status}: {last}"
    if status == 0:
        return f"status 0, and an error: {lines[0]}" if lines else ""
    if status == 1 and not lines and _SKIPPED.search(said):
        return ""
    if len(lines) != 1:
        return f"status {status}, {len(lines)} lines of error: {last}"
    after = said[said.index(lines[0]) + len(lines[0]) :].strip()
    if after:
        return f"status {status}, more than a line of error: {lines[0]} ... {last}"
    return next((f"misleads: {lines[0]}" for text in MISLEADING if text in lines[0]), "")


MISLEADING = (
    "file an issue",
    "weights_only",
    "allow_pickle",
    "pytorch.org",
    "object has no attribute",
    "NoneType",
    "codec can't",
)


def _others(folder: Path) -> dict[str, tuple[object, ...]]:
    """What is not the work directory's, with sizes and times; and what in it is somebody else's."""
    paths = [p for name in ("here", "inputs", "outside") for p in (folder / name).rglob("*")]
    paths += [folder / "run/theirs.txt", folder]
    found: dict[str, tuple[object, ...]] = {}
    for path in paths:
        if os.path.lexists(path):
            facts = path.lstat()
            held = facts.st_mtime_ns if path != folder else 0
            found[str(path.relative_to(folder))] = (
                facts.st_mode,
                0 if path.is_dir() else facts.st_size,
                held,
            )
    return found


def _outside(case: Case, folder: Path, before: dict[str, tuple[object, ...]]) -> str:
    # A work directory that is a link is where it leads.
    run = [(folder / "run").resolve()] if (folder / "run").is_symlink() and (folder / "run").is_dir() else []
    named = tuple(str(place) for place in [*run, *_named(case, folder)])
    after = _others(folder)
    names = {name for name in {**before, **after} if not str(folder / name).startswith(named)}
    changed = sorted(name for name in names if before.get(name) != after.get(name))
    known = ("here", "run", "inputs", "outside", "out", "err", "printed", "found")
    changed += sorted(p.name for p in folder.iterdir() if p.name not in known)
    return f"written outside the work directory: {', '.join(changed)}" if changed else ""


def _wait(child: int, started: float) -> tuple[int, resource.struct_rusage]:
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), usage
        if time.monotonic() - started > PATIENCE:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)


def _command(case: Case, folder: Path) -> int:
    """Start ``python main.py`` with the case's arguments; its process."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1"}
    with (folder / "printed").open("wb") as out, (folder / "err").open("wb") as err:
        command = [sys.executable, str(ROOT / "main.py"), *case.arguments]
        return subprocess.Popen(
            command, cwd=folder / "here", env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err
        ).pid


def _aside(case: Case, folder: Path) -> tuple[int, str]:
    """What is wrong with the files that a case of status 0 has written, looked at in a child of its own."""
    child = os.fork()
    if child == 0:
        try:
            os.chdir(folder / "here")
            (folder / "found").write_text(wrong_result(case, folder))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return child, (folder / "found").read_text() if (
        folder / "found"
    ).exists() else "its results could not be checked"


def _child(case: Case, folder: Path) -> None:
    """Never returns; where something is named by a relative path, that is below ``here``."""
    status, found = 70, ""
    try:
        os.chdir(folder / "here")
        _redirect(folder)
        resource.setrlimit(resource.RLIMIT_DATA, (3 * MEMORY, 3 * MEMORY))
        sys.argv = ["main.py", *case.arguments]
        sys.path.insert(0, str(folder / "here"))  # where the canary's module is found by whoever imports it
        sys.dont_write_bytecode = True  # which is none of a case's writing
        watch = Watch([folder / "run", folder / "out", *_named(case, folder), *_attempted(case, folder)])
        watch.begin()
        try:
            main.guarded(list(sys.argv))
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        found = "; ".join(watch.end())
        if status == 0 and not found:
            found = wrong_result(case, folder)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        if found:
            (folder / "found").write_text(found, errors="replace")
        os._exit(status)


def _named(case: Case, folder: Path) -> list[Path]:
    """The places that the command line names for writing. Whether anything changed there is looked at afterwards."""
    names = [
        value
        for path, value in case.fields
        if path in ("control.output", "reconstruct.output", "convert.path")
    ]
    if case.mode == "tune":
        names += [value for path, value in case.fields if path == "tune.folder"]
    names += ["runs"] if case.written is None else [case.written]
    places = [folder / "here" / name for name in names if name.strip(".") and not name.startswith("..")]
    # A folder that is made for one in it is named with it.
    made = [p for place in places for p in (place, *place.parents) if folder / "here" in p.parents]
    locks = [folder / "here" / name / LOCK for name in names]
    return made + locks + [p.with_name(f".partial-{os.getpid()}-{p.name}") for p in places]


def _attempted(case: Case, folder: Path) -> list[Path]:
    """The work directory wherever it is: that it cannot be made is found out by trying."""
    return [folder / "here" / case.written] if case.written else []


def _redirect(folder: Path) -> None:
    """Standard output and error into files, as strict about what they print as the system's are."""
    for name, stream, errors in (("printed", sys.stdout, "strict"), ("err", sys.stderr, "backslashreplace")):
        handle = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, stream.fileno())
        os.close(handle)
        stream.reconfigure(encoding="utf-8", errors=errors)

"""How long the program takes to start: fresh interpreters, on top of ``import torch`` alone.

    python benchmarks/startup.py                # seven rounds, about a minute

Each round starts every command once, so that a machine that becomes slower does so for all of them. The seconds are
the median over rounds of the difference from the same round's ``import torch``; the memory is the median of the
peaks of the resident set. A first round, which writes bytecode and fills the cache of files, does not count. Exits
with 1 if a limit is passed or a command does not end as it should.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAIN = (str(ROOT / "main.py"),)
MISSPELT = ("--config", str(ROOT / "configs/ddpm/digits.py"), "--config.sampling.predctor=ddim")


@dataclass(frozen=True)
class Command:
    """Arguments of the interpreter, how it must end, and limits in seconds above torch's import and in MB."""

    name: str
    arguments: tuple[str, ...]
    status: int = 0
    seconds: float | None = None
    memory: float | None = None


TORCH = Command("import torch", ("-c", "import torch"))
COMMANDS = (
    TORCH,
    Command("import samplers", ("-c", "import torch, samplers"), seconds=0.15),
    Command("a misspelt field", (*MAIN, *MISSPELT), status=2, seconds=0.5, memory=700),
    Command("--help", (*MAIN, "--help")),
    Command("--mode list", (*MAIN, "--mode", "list")),
)


@dataclass(frozen=True)
class Start:
    """One start of a command: seconds from beginning to end, peak of memory in MB, exit status."""

    seconds: float
    memory: float
    status: int


def start(command: Command) -> Start:
    """Run a command in a fresh interpreter, its output thrown away."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # each start would compile every module again
    begun = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, *command.arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - begun
    child.returncode = os.waitstatus_to_exitcode(status)
    unit = 1e6 if sys.platform == "darwin" else 1e3  # bytes there, kilobytes on Linux
    return Start(seconds, usage.ru_maxrss / unit, child.returncode)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    rounds = [[start(command) for command in COMMANDS] for _ in range(parser.parse_args().rounds + 1)][1:]
    failed = False
    print("| command | seconds above torch's | limit | peak MB | limit |\n|---|---|---|---|---|")
    for place, command in enumerate(COMMANDS):
        starts = [one[place] for one in rounds]
        seconds = statistics.median(one[place].seconds - one[0].seconds for one in rounds)
        memory = statistics.median(s.memory for s in starts)
        if command is TORCH:
            seconds = statistics.median(s.seconds for s in starts)
        wrong = {s.status for s in starts} - {command.status}
        over = any(
            limit is not None and value > limit
            for value, limit in ((seconds, command.seconds), (memory, command.memory))
        )
        failed |= over or bool(wrong)
        note = f" (exits with {wrong.pop()}, not {command.status})" if wrong else " (over)" if over else ""
        shown = f"{seconds:.2f} in all" if command is TORCH else f"{seconds:.2f}"
        print(
            f"| {command.name}{note} | {shown} | {command.seconds or ''} | {memory:.0f} | {command.memory or ''} |"
        )
    sys.exit(failed)


if __name__ == "__main__":
    main()

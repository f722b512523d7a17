"""Two signals that come at once: the second ends one process, and says nothing to one of several."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from tests.run_lib.program import ROOT

WORK = """
import os, signal
from run_lib.stopping import Stopped, finishing, watching

both = {signal.SIGINT, signal.SIGTERM}
try:
    with watching(), finishing("the step") as stop:
        signal.pthread_sigmask(signal.SIG_BLOCK, both)
        for number in both:
            os.kill(os.getpid(), number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, both)  # both have come before Python looks
        print("the step is done", flush=True)
        stop.leave()
except Stopped as stopped:
    print(stopped.signal.name)
"""


def work(world_size: int) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, "WORLD_SIZE": str(world_size), "RANK": "0"}
    return subprocess.run([sys.executable, "-c", WORK], cwd=ROOT, env=given, capture_output=True, text=True)


def test_one_process_ends_at_once() -> None:
    found = work(1)
    assert found.returncode in (-signal.SIGINT, -signal.SIGTERM)
    assert found.stdout == ""
    (line,) = found.stderr.strip().splitlines()
    assert line.endswith("the step is finished first; a second one ends at once")


def test_one_of_several_finishes() -> None:
    """Each has every signal twice: from the terminal or the cluster, and from torch's launcher."""
    found = work(2)
    assert found.returncode == 0
    assert found.stdout.splitlines() in (["the step is done", name] for name in ("SIGINT", "SIGTERM"))
    (line,) = found.stderr.strip().splitlines()
    assert line.endswith("the step is finished first")

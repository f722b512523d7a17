"""Signals at odd moments: two at once, of which the second ends one process and says nothing to one of several; and
one within a library that raises an error of its own because of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from run_lib.stopping import Stopped, promising, watching
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


def interrupted_file() -> None:
    """What zipfile does when a signal comes while a member of an archive is open."""
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        raise ValueError("Can't close the ZIP file while there is an open writing handle on it.")


def test_an_error_that_an_interruption_causes_is_the_interruption() -> None:
    """And one that none causes is itself."""
    with pytest.raises(Stopped) as found, watching(), promising("the rest"):
        interrupted_file()
    assert (found.value.signal, found.value.kept) == (signal.SIGTERM, "the rest")
    with pytest.raises(Stopped), watching():
        interrupted_file()
    with pytest.raises(ValueError, match="other"), watching(), promising("the rest"):
        raise ValueError("other")

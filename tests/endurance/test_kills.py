"""A short part of ``python -m tests.endurance.kills``, in a process of its own that has no other threads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.run_lib.program import ROOT


@pytest.mark.slow
def test_runs_that_are_killed_end_as_if_they_were_not() -> None:
    command = [sys.executable, "-m", "tests.endurance.kills", "--kills", "12", "--seed", "1"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert done.stdout.splitlines()[0].split() == ["runs", "SIGKILL", "SIGTERM", "SIGINT", "wrong", "seconds"]

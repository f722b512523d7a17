"""A short part of ``python -m tests.endurance.kills``, in a process of its own that has no other threads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.run_lib.program import ROOT

MODES = ("train", "eval", "sample", "tune", "control", "reconstruct")


@pytest.mark.slow
def test_two_processes_of_which_one_is_killed_or_both() -> None:
    """With all weights in each, and with parts of them."""
    command = [
        sys.executable,
        "-m",
        "tests.endurance.kills",
        "--each",
        "--cases",
        "train, 2 ranks",
        "train, 2 shards",
    ]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert all(int(kills) >= 2 for kills in done.stdout.splitlines()[-1].split()[2:4])


@pytest.mark.slow
def test_runs_that_are_killed_end_as_if_they_were_not() -> None:
    """Each mode's, by SIGKILL and by SIGTERM."""
    command = [sys.executable, "-m", "tests.endurance.kills", "--each", "--cases", *MODES]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    heads, *rows = done.stdout.splitlines()
    assert heads.split() == ["runs", "SIGKILL", "SIGTERM", "SIGINT", "wrong", "seconds"]
    assert [row.split()[0] for row in rows] == [*MODES, "all"]
    assert all(kills > 0 for row in rows for kills in map(int, row.split()[2:4]))

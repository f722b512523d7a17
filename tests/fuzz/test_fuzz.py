"""A short search of the fuzzer; ``CONTRIBUTING.md`` has the long one. And whether the fuzzer would see a fault."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.run_lib.program import ROOT


@pytest.mark.slow
def test_no_case_breaks_the_invariant() -> None:
    """A right result, or one line and status 1, 2 or 3. In a process of its own, which has no threads to fork."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--cases", "30", "--real", "2", "--seed", "2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]

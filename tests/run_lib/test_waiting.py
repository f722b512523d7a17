"""How threads wait is said before the runtime that reads it is loaded, and the user's own word holds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = """
import os, runpy, sys
sys.argv = ["main.py", "--help"]
class Seen:
    def find_spec(self, name, *rest):
        if name == "torch":
            print("seen", os.environ.get("GOMP_SPINCOUNT"), flush=True)
            os._exit(0)
sys.meta_path.insert(0, Seen())
runpy.run_path("main.py", run_name="__main__")
"""
"""It ends where torch would be imported, which takes seconds."""


@pytest.mark.parametrize(
    ("environment", "seen"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
)
def test_the_program_says_it_before_torch_is_imported(environment: dict[str, str], seen: str) -> None:
    kept = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=ROOT,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == f"seen {seen}"

"""The command ``score-pc``, which is also ``python -m score_pc``."""

from __future__ import annotations

import importlib
import sys

import score_pc


def run() -> None:
    if score_pc.CHECKOUT is not None:
        # A module of the user's called like one of ours must not be found before it.
        sys.path.insert(0, str(score_pc.CHECKOUT))
    importlib.import_module("score_pc.run_lib.startup").start_up()
    importlib.import_module("score_pc.main").guarded(sys.argv)


if __name__ == "__main__":
    run()

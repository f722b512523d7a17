"""What a malicious file would do: leave a file where a case looks for it."""

from __future__ import annotations

import builtins
import os
import pickle
from typing import Any

RAN = "../outside/ran"
"""Relative to the folder in which a case runs."""
MODULE = "canary_module"
"""A module beside the case, which leaves the same when it is imported."""
CODE = f"open({RAN!r}, 'w').close()\n"


class Executes:
    """Unpickles to a call."""

    def __init__(self, which: int) -> None:
        self.which = which

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (
            (os.system, (f"touch {RAN}",)),
            (builtins.exec, (CODE,)),
            (builtins.__import__, (MODULE,)),
            (builtins.open, (RAN, "w")),
            (os.mkdir, (RAN,)),
        )[self.which % 5]


def malicious(which: int, around: Any = None) -> bytes:
    """A pickle that executes, alone or inside a mapping."""
    return pickle.dumps(
        {**around, "x": Executes(which)} if around is not None else Executes(which), protocol=2
    )

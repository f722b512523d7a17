"""How long OpenMP's threads spin while they wait for one another.

GNU's runtime, with which PyTorch computes on Linux, lets a thread that has done its part of an operation spin for
milliseconds before it sleeps. On a core that other work wants too, that is time in which the thread it waits for does
not run: beside other work two threads were ten times slower than with short waits.
"""

from __future__ import annotations

import os

SPINS = "10000"
"""Turns before a thread sleeps, a thirtieth of the runtime's own: on free cores as quick as those."""
_SAID = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
"""By which a user says how threads wait."""


def wait_briefly() -> None:
    """Have threads sleep soon; to be called before torch is imported. What the environment says holds."""
    if not any(name in os.environ for name in _SAID):
        os.environ["GOMP_SPINCOUNT"] = SPINS

"""Whether compiling pays: a pure function of the length of the work and of the kind of machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from run_lib.automatic.choice import Choice
from sde_lib.words import duration

Passes = Literal["forward", "training"]
Part = Literal["networks", "steps"]
"""What is compiled: networks alone, or, where they are, steps of samplers and velocities of flows with them."""


@dataclass(frozen=True)
class Worth:
    """What compiling takes and brings on a kind of device.

    Attributes:
        seconds: that it takes, for passes without and with a backward pass.
        saved: share of an evaluation's time that it saves, in float32 and in 16 bits: by networks, and by steps beside
            them, which is at most the time that steps take beside their networks.
        rate: FLOP/s of networks that are not compiled, of a GPU or of each core, in float32 and in 16 bits.
    """

    seconds: dict[Passes, float]
    saved: dict[Part, tuple[float, float]]
    rate: tuple[float, float]


WORTH = {
    "cpu": Worth(
        {"forward": 40, "training": 90}, {"networks": (0.03, 0.2), "steps": (0.0025, 0.0025)}, (150e9, 250e9)
    ),
    "cuda": Worth(
        {"forward": 60, "training": 120}, {"networks": (0.25, 0.25), "steps": (0.03, 0.03)}, (20e12, 100e12)
    ),
}
"""CPU: rounded from U-Nets of 1.2 and 35 M parameters on two cores with AVX-512 and bfloat16. GPU: reasoned, not
measured."""
MARGIN = 2.0
"""So many times what it takes, compiling must save: the figures are those of other machines."""


def worthwhile(
    flop: float, passes: Passes, device: str, cores: int, half: bool, part: Part = "networks"
) -> Choice:
    """Whether to compile, and why.

    Args:
        flop: of the whole work.
        passes: whether its evaluations have backward passes.
        device: its kind.
        cores: of a CPU.
        half: whether networks are evaluated in 16 bits.
        part: what is to be compiled.
    """
    worth = WORTH.get(device)
    if worth is None:
        return Choice(False, f"nothing is known of compiling for {device}")
    seconds = flop / (worth.rate[half] * (cores if device == "cpu" else 1))
    saved, takes = worth.saved[part][half] * seconds, worth.seconds[passes]
    what = f"of about {duration(seconds)} compiling saves {duration(saved)}, and takes {duration(takes)}"
    return Choice(saved > MARGIN * takes, what)

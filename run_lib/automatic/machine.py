"""What a machine has for a training: the kind of its device, its memory, its precision, how many processes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from run_lib.automatic.choice import Choice
from run_lib.computing.limits import main_memory
from run_lib.computing.processor import TOLD, instructions
from run_lib.processes import Processes

Precision = Literal["float32", "bfloat16", "float16"]
GIB = 2**30


@dataclass(frozen=True)
class Machine:
    """What each process of a training has.

    Attributes:
        kind: of its device: ``cuda``, ``cpu``, ...
        memory: bytes of the device, whether they are free or not; of a CPU, its share of the machine's.
        precision: the lowest in which the device computes faster than in float32, and without float16's scale of the
            loss where it has bfloat16.
        processes: that train together.
    """

    kind: str
    memory: int
    precision: Precision
    processes: int = 1

    @property
    def choice(self) -> Choice:
        """The precision to train any network in."""
        return Choice(self.precision, f"the fastest that this {self.kind} computes in")

    def __str__(self) -> str:
        several = f", {self.processes} processes" if self.processes > 1 else ""
        return f"{self.kind} with {self.memory / GIB:.0f} GiB for a process, {self.precision}{several}"


def this_machine(device: torch.device) -> Machine:
    """The machine that the program runs on.

    Memory is in whole GiB, so that processes on machines of one kind, whose memories differ by what a BIOS keeps,
    choose alike.

    Args:
        device: of this process.
    """
    processes = Processes.from_environment().world_size
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        return Machine("cuda", _whole(found.total_memory), _of_capability(found.major), processes)
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return Machine(device.type, _whole(main_memory() // here), _of_processor(), processes)


def _whole(memory: int) -> int:
    """In whole GiB, the nearest: a device of 24 GiB has 23.6."""
    return max(1, round(memory / GIB)) * GIB


def _of_capability(major: int) -> Precision:
    """Of an NVIDIA GPU: tensor cores have float16 from compute capability 7, bfloat16 from 8."""
    return "bfloat16" if major >= 8 else "float16" if major == 7 else "float32"


def _of_processor(told: Path = TOLD) -> Precision:
    """Processors without instructions for bfloat16 emulate it, and are slower in it than in float32."""
    return "bfloat16" if instructions(told) & {"avx512_bf16", "amx_bf16", "bf16"} else "float32"

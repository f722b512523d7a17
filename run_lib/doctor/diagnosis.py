"""What is wrong with a machine or an installation, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from run_lib.doctor.facts import Facts
from sde_lib.words import amount

GIB = 2**30
LITTLE_MEMORY = 2 * GIB
"""Bytes below which small trainings are killed."""
LITTLE_DISK = 5 * GIB
"""Bytes below which a training of a published network has no room for its checkpoints."""
LITTLE_SHARED = 256 * 2**20
"""Bytes below which the batches of several loading processes have no room; containers have 64 MB unless told."""


def diagnose(facts: Facts) -> list[str]:
    """A sentence for each thing that is wrong, with what to do; empty: nothing is."""
    return [said for check in CHECKS for said in check(facts)]


def _torchvision(facts: Facts) -> Iterator[str]:
    torch, vision = facts.versions.get("torch", ""), facts.versions.get("torchvision", "")
    together = "Install both at once, in a fresh environment: pip install torch torchvision."
    if facts.torchvision_error:
        yield (
            f"torchvision {vision or '(not installed)'} cannot be imported beside torch {torch}: "
            f"{facts.torchvision_error}. {together}"
        )
    elif vision and _build(torch) != _build(vision):
        yield (
            f"torch {torch} and torchvision {vision} are made for different devices "
            f"({_build(torch) or 'no mark'} and {_build(vision) or 'no mark'}). {together}"
        )


def _build(version: str) -> str:
    """What follows the + of a version: cpu, cu130, ..."""
    return version.partition("+")[2]


def _unseen_gpu(facts: Facts) -> Iterator[str]:
    if not facts.driver or facts.graphics:
        return
    if not facts.cuda:
        yield (
            f"There is an NVIDIA driver ({facts.driver}), and torch is made for processors alone. "
            "pip install torch torchvision brings one for GPUs."
        )
    else:
        yield (
            f"There is an NVIDIA driver ({facts.driver}), and torch sees no GPU. Either CUDA_VISIBLE_DEVICES hides "
            f"them, or the driver is too old for CUDA {facts.cuda}: take a newer driver, or a torch for an older CUDA."
        )


def _kernels(facts: Facts) -> Iterator[str]:
    major = {one.removeprefix("sm_")[:-1] for one in facts.kernels}
    for index, card in enumerate(facts.graphics):
        if facts.kernels and card.capability.removeprefix("sm_")[:-1] not in major:
            yield (
                f"GPU {index}, {card.name}, is {card.capability}, for which this torch has no kernels "
                f"({', '.join(facts.kernels)}): take another build of torch."
            )


def _threads(facts: Facts) -> Iterator[str]:
    whole = max(1, math.floor(facts.cores))
    if facts.threads > math.ceil(facts.cores):
        yield (
            f"{facts.threads} threads share {facts.cores:g} cores, and wait for one another. "
            f"Set OMP_NUM_THREADS={whole}."
        )
    elif facts.load is not None:
        left = max(1, math.floor(facts.cores - facts.load + 0.5))
        if left < facts.threads:
            yield (
                f"Other work wants {facts.load:.1f} of {facts.cores:g} cores. {facts.threads} threads would "
                f"wait for one another at every operation, and be several times slower than fewer: set "
                f"OMP_NUM_THREADS={left} while that lasts."
            )


def _room(facts: Facts) -> Iterator[str]:
    if facts.refused:
        yield f"{facts.folder} cannot be written: {facts.refused}. Choose another --workdir."
    if facts.disk < LITTLE_DISK:
        yield f"{facts.folder} has {amount(facts.disk)} of disk left. Free some, or choose another --workdir."
    if facts.memory < LITTLE_MEMORY:
        yield f"{amount(facts.memory)} of memory are free. End what takes the rest."
    if facts.shared_memory is not None and facts.shared_memory < LITTLE_SHARED:
        yield (
            f"/dev/shm has {amount(facts.shared_memory)}, too little for the batches of data.num_workers. In a "
            "container, start it with --shm-size=2g or --ipc=host; or set data.num_workers=0."
        )


CHECKS: tuple[Callable[[Facts], Iterator[str]], ...] = (_torchvision, _unseen_gpu, _kernels, _threads, _room)

"""What a training tells of itself while it runs: loss by level of noise, speed, use of the device, memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import torch

from losses.of_samples import Losses
from models.describe import describe, example_conditions
from run_lib.computing.numerics import Precision
from run_lib.training.curves import Curves
from sde_lib.base import Process

if TYPE_CHECKING:
    from run_lib.config.subject import Subject

BINS = 8
"""Equal parts of a process's times."""

PEAKS: dict[str, dict[str, float]] = {
    "H200": {"float32": 67e12, "tf32": 495e12, "half": 989e12},
    "H100": {"float32": 67e12, "tf32": 495e12, "half": 989e12},
    "A100": {"float32": 19.5e12, "tf32": 156e12, "half": 312e12},
    "V100": {"float32": 15.7e12, "tf32": 15.7e12, "half": 125e12},
    "L40S": {"float32": 91.6e12, "tf32": 183e12, "half": 362e12},
    "RTX 4090": {"float32": 82.6e12, "tf32": 82.6e12, "half": 165e12},
    "RTX 3090": {"float32": 35.6e12, "tf32": 35.6e12, "half": 71e12},
}
"""FLOP/s of dense products by the makers' data sheets (SXM modules; half: sums in float32), by part of the name."""


def peak(device: str, precision: Precision) -> float | None:
    """The most FLOP/s of a device, by its name; None: not known."""
    kind = precision if precision in ("float32", "tf32") else "half"
    return next((of[kind] for name, of in PEAKS.items() if name in device), None)


def loss_by_time(process: Process, losses: Losses) -> dict[str, float]:
    """The mean unweighted loss in equal parts of a process's times, by the middle of each part that has a sample.

    Args:
        process: whose times they are; the first part is next to clean data.
        losses: of a step; those that are not finite are left out.
    """
    values = losses.unweighted.detach().double().cpu()
    start, clean = float(process.start), float(process.clean)
    # Chains' first level is next to clean data, not at it: the ends of the parts are their last times.
    share = (losses.t.detach().double().cpu() - clean) / (start - clean)
    part = (share * BINS).ceil().clamp(1, BINS) - 1
    chosen = {f"{(k + 0.5) / BINS:.4f}": values[(part == k) & values.isfinite()] for k in range(BINS)}
    return {middle: float(found.mean()) for middle, found in chosen.items() if len(found)}


class Stopwatch:
    """Samples per second of the training steps alone."""

    def __init__(self) -> None:
        self._samples, self._paused, self._since = 0, 0.0, time.perf_counter()

    def add(self, samples: int) -> None:
        self._samples += samples

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Within the block, time does not count."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._paused += time.perf_counter() - begin

    def read(self) -> float:
        """Since the last reading; call it when the device has done what was counted."""
        now = time.perf_counter()
        found = self._samples / max(now - self._since - self._paused, 1e-9)
        self._samples, self._paused, self._since = 0, 0.0, now
        return found


def most_memory(device: torch.device) -> float:
    """GiB: the most that tensors have taken on a GPU, else the most that the process has taken."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


class Meter:
    """Reads all of these for the curves.

    Args:
        subject: the network that is trained, its process and where it is.
        devices: number of those that train.
    """

    def __init__(self, subject: Subject, devices: int = 1) -> None:
        place = subject.placement
        self._device = place.device
        self._process = subject.training.process
        self._devices = devices
        self._watch = Stopwatch()
        name = torch.cuda.get_device_name(place.device) if place.device.type == "cuda" else ""
        self._peak = peak(name, place.training.precision)
        self._flop = 0.0
        if self._peak is not None:
            network, shape = subject.network, subject.data.shape
            conditions = example_conditions(network, subject.num_classes, shape)
            # The backward pass computes twice as much as the forward pass; what is computed again is no use.
            self._flop = 3e9 * describe(network, shape, **conditions).gflop

    def begin(self) -> None:
        """Time counts from here on."""
        self._watch = Stopwatch()

    def add(self, samples: int) -> None:
        """A step of so many samples."""
        self._watch.add(samples)

    def paused(self) -> AbstractContextManager[None]:
        """Within the block, time does not count: something else than training is done."""
        return self._watch.paused()

    def write(self, writer: Curves, losses: Losses, done: int) -> None:
        """Points of the curves: of the last step, and of the speed since the last points.

        Args:
            writer: of the curves.
            losses: of the last step, which the device has done.
            done: steps taken.
        """
        speed = self._watch.read()
        writer.add_scalar("train/images_per_second", speed, done)
        if self._peak is not None:
            writer.add_scalar("train/utilisation", speed * self._flop / (self._devices * self._peak), done)
        writer.add_scalar("train/memory_GiB", most_memory(self._device), done)
        for part, loss in loss_by_time(self._process, losses).items():
            writer.add_scalar(f"loss_by_time/{part}", loss, done)

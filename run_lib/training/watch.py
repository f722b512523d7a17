"""Whether training steps were finite: found on the device, read when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from losses.of_samples import Losses
from run_lib.training.undo import Kept
from sde_lib.words import listed

SHOWN = 4
"""Samples or weights that a message names."""
MOST = 1000
"""Steps whose findings may wait for being read."""


@dataclass(frozen=True)
class Batch:
    """What a step knows before its update.

    Attributes:
        losses: of the batch.
        data: whether each sample's data are finite, (B,).
        buffers: the network's, as they were before the step.
    """

    losses: Losses
    data: Tensor
    buffers: Kept = field(default_factory=lambda: Kept(()))

    @classmethod
    def of(cls, parts: Sequence[Batch]) -> Batch:
        """A batch of the rows of several."""
        first, *others = [p.losses for p in parts]
        losses = first.mapped(lambda *some: torch.cat(some), *others)
        return cls(losses, torch.cat([p.data for p in parts]))

    def first(self, count: int) -> Batch:
        """Its first rows."""
        return replace(self, losses=self.losses.mapped(lambda part: part[:count]), data=self.data[:count])

    @property
    def detached(self) -> Batch:
        """The same without what a backward pass needs."""
        return replace(self, losses=self.losses.mapped(Tensor.detach))


@dataclass(frozen=True)
class Findings:
    """What a step came upon, on the device.

    Attributes:
        data: whether each sample's data are finite, (B,).
        losses: of each sample, (B,), and their times (B,).
        names: of the parameters below.
        gradients: norm of each parameter's gradient, (P,).
        weights: largest absolute value of each parameter after the step, (P,).
        faulty: (), whether something is not finite that no scale of the loss is to blame for.
        overflow: (), whether the gradient overflowed because float16's scale of the loss is too large.
    """

    data: Tensor
    losses: Losses
    names: Sequence[str]
    gradients: Tensor
    weights: Tensor
    faulty: Tensor
    overflow: Tensor

    @property
    def sound(self) -> Tensor:
        """(), whether the step was taken."""
        return ~(self.faulty | self.overflow)

    def cause(self, rows: Sequence[int]) -> str:
        """The first thing that is not finite: data, loss, gradient, weights.

        Args:
            rows: the training data that the batch holds.
        """
        if bad := _indices(~self.data):
            return f"the data are not finite: {_samples(bad, rows)}"
        if bad := _indices(~self.losses.values.isfinite()):
            return f"the loss is not finite: {_samples(bad, rows, self.losses.t.tolist())}"
        if not bool(self.losses.values.mean().isfinite()):
            return "the mean of the losses overflows"
        if bad := _indices(~self.gradients.isfinite()):
            return f"the gradient is not finite: {_weights(bad, self.names)}"
        if bad := _indices(~self.weights.isfinite()):
            return f"the weights after the step are not finite: {_weights(bad, self.names)}"
        return "the norm of the gradient overflows"


def _indices(bad: Tensor) -> list[int]:
    found: list[int] = bad.nonzero()[:, 0].tolist()
    return found


def _samples(bad: Sequence[int], rows: Sequence[int], times: Sequence[float] | None = None) -> str:
    at = [f" at t={times[k]:.4g}" if times else "" for k in bad]
    named = [f"training sample {rows[k]} (place {k} of the batch{t})" for k, t in zip(bad, at, strict=True)]
    return listed(named, SHOWN)


def _weights(bad: Sequence[int], names: Sequence[str]) -> str:
    return listed([names[k] for k in bad], SHOWN)


@dataclass(frozen=True)
class Skipped:
    """A step that was skipped because something was not finite.

    Attributes:
        step: counted from 0.
        findings: of it.
        in_a_row: number of such steps up to this one without a finite one between them.
    """

    step: int
    findings: Findings
    in_a_row: int


@dataclass
class Watch:
    """Counts the steps that were skipped.

    A step whose gradient overflows while float16's scale of the loss is searched counts apart: it is no fault, and
    neither begins nor ends a row of faults.

    Attributes:
        skipped: steps that something not finite made void.
        overflows: steps that float16's scale made void.
        in_a_row: faults since the last finite step.
        progress: whether any step since the last checkpoint was other than a fault.
    """

    skipped: int = 0
    overflows: int = 0
    in_a_row: int = 0
    progress: bool = False
    _pending: list[Findings] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Whether it is time to read."""
        return len(self._pending) >= MOST

    @property
    def latest(self) -> Findings:
        """Of the last step, which has not been read."""
        return self._pending[-1]

    def note(self, findings: Findings) -> None:
        """Keep a step's findings."""
        self._pending.append(findings)

    def read(self, done: int) -> list[Skipped]:
        """The faults since this was last asked; waits for the device.

        Args:
            done: number of steps taken.
        """
        found: list[Skipped] = []
        if not self._pending:
            return found
        flags = torch.stack([torch.stack([f.faulty, f.overflow]) for f in self._pending]).tolist()
        first = done - len(flags)
        for place, (faulty, overflow) in enumerate(flags):
            self.overflows += overflow
            self.progress |= not faulty
            if faulty:
                self.skipped += 1
                self.in_a_row += 1
                found.append(Skipped(first + place, self._pending[place], self.in_a_row))
            elif not overflow:
                self.in_a_row = 0
        self._pending.clear()
        return found

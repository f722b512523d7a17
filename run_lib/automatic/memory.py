"""The memory of a training step of the ADM U-Net, counted layer by layer."""

from __future__ import annotations

import math
from dataclasses import dataclass

from run_lib.automatic.machine import Machine

SAVED = {"cpu": 0.55}
"""Bytes that autograd keeps in half precision, in units of those in float32, by device: GPUs normalise in float32, and
CPUs do not."""
SAVED_ELSEWHERE = 0.85


@dataclass(frozen=True)
class UNet:
    """An ADM U-Net, by the fields that say its size.

    Attributes:
        size: height and width of the images.
        width: channels of the first level.
        multiples: of each level, in units of the first.
        blocks: residual blocks of each level.
        attention: resolutions with attention.
    """

    size: tuple[int, int]
    width: int
    multiples: tuple[float, ...]
    blocks: int
    attention: tuple[int, ...]

    def _residual_blocks(self) -> list[tuple[int, float, float]]:
        """Level, and multiples of the first width that go in and out, of each block in the order of evaluation."""
        found: list[tuple[int, float, float]] = []
        skips, now, last = [self.multiples[0]], self.multiples[0], len(self.multiples) - 1
        for level, wide in enumerate(self.multiples):
            for _ in range(self.blocks):
                found.append((level, now, wide))
                skips.append(now := wide)
            if level < last:
                skips.append(now)
        found += [(last, now, now)] * 2
        for level in range(last, -1, -1):
            for _ in range(self.blocks + 1):
                found.append((level, now + skips.pop(), now := self.multiples[level]))
        return found

    def _attends(self, level: int) -> bool:
        return self.size[1] >> level in self.attention or level == len(self.multiples) - 1

    def _values(self, level: int) -> int:
        """Values of as many channels as the first level has."""
        return math.prod(side >> level for side in self.size) * self.width

    @property
    def parameters(self) -> float:
        """About so many, a few per cent more than there are."""
        found = 20.0  # the embedding of the time, in squares of the width
        for level, before, after in self._residual_blocks():
            # Two convolutions, and the embedding's layer.
            found += 9 * before * after + 9 * after**2 + 8 * after
            found += 4 * after**2 if self._attends(level) else 0
        found += sum(18 * wide**2 for wide in self.multiples[1:])  # between the levels, down and up
        return self.width**2 * found

    @property
    def kept(self) -> float:
        """Bytes that autograd keeps of one image in float32, as counted for five sizes and three depths, to 5 %."""
        found = 0.0
        for level, before, after in self._residual_blocks():
            attention = 14 * after if self._attends(level) else 0
            found += self._values(level) * (3.5 * (before + after) + attention)
        found += sum(2.4 * self._values(level) * wide for level, wide in enumerate(self.multiples))
        return 4 * found

    @property
    def kept_by_checkpoints(self) -> float:
        """The same with activation checkpointing: inputs of blocks, and the largest block while it runs again."""
        blocks = self._residual_blocks()
        inputs = sum(1.5 * self._values(level) * before for level, before, _ in blocks)
        largest = max(11 * self._values(level) * (before + after) for level, before, after in blocks)
        return 4 * (inputs + largest)


@dataclass(frozen=True)
class Step:
    """What a training step needs of each process's memory.

    Attributes:
        network: that is trained.
        checkpointed: whether blocks are computed again in the backward pass.
        half: whether the network is evaluated in half precision.
        averages: of the weights.
        shards: processes that share weights, averages and moments; 1: each has all.
    """

    network: UNet
    checkpointed: bool
    half: bool
    averages: int = 1
    shards: int = 1

    @property
    def state(self) -> float:
        """Bytes of weights, their gradient, Adam's two moments and the averages, all in float32."""
        return 4 * (4 + self.averages) * self.network.parameters / self.shards

    def of_an_image(self, kind: str) -> float:
        """Bytes that a process needs for each image that it evaluates at a time."""
        kept = self.network.kept_by_checkpoints if self.checkpointed else self.network.kept
        return kept * (SAVED.get(kind, SAVED_ELSEWHERE) if self.half else 1.0)

    def bytes(self, images: int, kind: str) -> float:
        """Of a process that evaluates so many images at a time."""
        return self.state + images * self.of_an_image(kind)

    def fits(self, machine: Machine, images: int) -> bool:
        """Whether a step of so many images at a time fits in what a machine has for it."""
        return self.bytes(images, machine.kind) <= usable(machine)


def usable(machine: Machine) -> float:
    """Bytes for a training step: GPUs need some for libraries and for what lies between tensors; in a machine's
    memory there are the data, their readers and the user's other programs."""
    return machine.memory * (0.5 if machine.kind != "cuda" else 0.85)

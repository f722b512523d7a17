"""The device and the precision of a plan: the one place that moves what a plan holds."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
T = TypeVar("T")


@dataclass(frozen=True)
class Placement:
    """Where a plan's modules and tensors live, and the precision that training computes in.

    Attributes:
        device: of everything.
        precision: of the network's evaluations in training; losses and parameters stay in float32.
    """

    device: torch.device
    precision: torch.dtype = torch.float32

    def place(self, held: T) -> T:
        """The same with every module and every tensor that it holds on the device.

        Modules are moved where they are, so whoever shares one shares the moved one. Dataclasses, tuples and
        mappings that hold a tensor are made anew, since they are frozen.
        """
        placed: T = self._place(held, {})
        return placed

    def _place(self, held: Any, done: dict[int, Any]) -> Any:
        # Parts that several places share are placed once, and stay shared.
        if id(held) not in done:
            done[id(held)] = self._placed(held, done)
        return done[id(held)]

    def _place_plain(self, held: Any, done: dict[int, Any]) -> Any:
        """What a module holds beside its parameters, buffers and modules, which torch knows and moves itself."""
        plain = dataclasses.is_dataclass(held) or isinstance(held, Tensor)
        return self._place(held, done) if plain and not isinstance(held, type) else held

    def _placed(self, held: Any, done: dict[int, Any]) -> Any:
        if isinstance(held, nn.Module):
            for module in held.modules():
                for name, part in list(vars(module).items()):
                    if (placed := self._place_plain(part, done)) is not part:
                        setattr(module, name, placed)
            described = any(p.is_meta for p in held.parameters())  # shapes without numbers
            return held if described else held.to(self.device)
        if isinstance(held, Tensor):
            return held.to(self.device)
        if isinstance(held, tuple) and type(held) is tuple:
            parts = tuple(self._place(part, done) for part in held)
            return held if all(a is b for a, b in zip(parts, held, strict=True)) else parts
        if dataclasses.is_dataclass(held) and not isinstance(held, type):
            values = {f.name: getattr(held, f.name) for f in dataclasses.fields(held) if f.init}
            moved = {name: self._place(value, done) for name, value in values.items()}
            changed = {name: value for name, value in moved.items() if value is not values[name]}
            return dataclasses.replace(held, **changed) if changed else held
        return held

    def autocast(self) -> torch.autocast:
        """Lower precision where it is asked for."""
        return torch.autocast(self.device.type, self.precision, enabled=self.precision is not torch.float32)


def find_device(name: str | torch.device) -> torch.device:
    """The device of a configuration; ``auto`` takes this process's GPU where there is one.

    Raises:
        ValueError: no such device here.
    """
    if str(name) == "auto":
        return torch.device(f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"config.device={name!s} cannot be used ({str(error).splitlines()[0]}); take auto, cpu, cuda or "
            f"cuda:N."
        ) from error
    return device

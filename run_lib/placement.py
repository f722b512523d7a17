"""The device and the precision of a plan: the one place that moves what a plan holds."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
T = TypeVar("T")
_Done: TypeAlias = dict[int, tuple[Any, Any]]


@dataclass(frozen=True)
class Placement:
    """Where a plan's modules and tensors live, and the precision that training computes in.

    Attributes:
        device: of everything.
        precision: of the network's evaluations in training; losses and parameters stay in float32.
        tf32: on an NVIDIA GPU, round the factors of float32 matrix products and convolutions to TF32, which has 10 bits
            of mantissa for 23. Other devices have no such mode. PyTorch's own default is TF32 for convolutions alone.
    """

    device: torch.device
    precision: torch.dtype = torch.float32
    tf32: bool = False

    @property
    def arithmetic(self) -> str:
        """In which precision samples and evaluations are computed, and where: for a report."""
        return f"{'TF32' if self.tf32 and self.device.type == 'cuda' else 'float32'} on {self.device}"

    def set_arithmetic(self) -> None:
        """Tell PyTorch whether float32 products may be rounded: for all of this process, once."""
        if self.device.type == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = self.tf32
            torch.backends.cudnn.allow_tf32 = self.tf32

    def place(self, held: T) -> T:
        """The same with every module and every tensor that it holds on the device.

        Modules are moved where they are, so whoever shares one shares the moved one. Dataclasses, tuples and
        dictionaries that hold a tensor are made anew, since they are frozen. Other objects are left alone: what has
        tables to be moved is a module or a dataclass. From here on the process computes in the placement's arithmetic.
        """
        self.set_arithmetic()
        placed: T = self._place(held, {})
        return placed

    def _place(self, held: Any, done: _Done) -> Any:
        # Parts that several places share are placed once, and stay shared. The part itself is kept beside the placed
        # one: no other may get its address before all is done.
        if id(held) not in done:
            done[id(held)] = (held, self._placed(held, done))
        return done[id(held)][1]

    def _place_plain(self, held: Any, done: _Done) -> Any:
        """What a module holds beside its parameters, buffers and modules, which torch knows and moves itself."""
        plain = dataclasses.is_dataclass(held) or isinstance(held, Tensor)
        return self._place(held, done) if plain and not isinstance(held, type) else held

    def _placed(self, held: Any, done: _Done) -> Any:
        if isinstance(held, nn.Module):
            for module in held.modules():
                for name, part in list(vars(module).items()):
                    if (placed := self._place_plain(part, done)) is not part:
                        setattr(module, name, placed)
            numbers = self.device.type == "meta" or not any(p.is_meta for p in held.parameters())
            return held.to(self.device) if numbers else held  # shapes alone are nowhere
        if isinstance(held, Tensor):
            return held.to(self.device)
        if isinstance(held, tuple) and type(held) is tuple:
            parts = tuple(self._place(part, done) for part in held)
            return held if all(a is b for a, b in zip(parts, held, strict=True)) else parts
        if type(held) is dict:
            placed = {key: self._place(part, done) for key, part in held.items()}
            return held if all(placed[key] is held[key] for key in held) else placed
        if dataclasses.is_dataclass(held) and not isinstance(held, type):
            values = {f.name: getattr(held, f.name) for f in dataclasses.fields(held)} | vars(held)
            moved = {name: self._place(value, done) for name, value in values.items()}
            return _changed(held, {n: value for n, value in moved.items() if value is not values[n]})
        return held

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Lower precision where it is asked for; some devices have none."""
        if self.precision is torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.precision)


def _changed(held: T, values: Mapping[str, Any]) -> T:
    """A dataclass with other values: moved, not built anew, so that nothing is checked or computed again."""
    if not values:
        return held
    made = copy.copy(held)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def find_device(name: str | torch.device) -> torch.device:
    """The device of a configuration; ``auto`` takes a GPU where there is one. Of several each process has its own.

    Raises:
        ValueError: no such device here.
    """
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if str(name) == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if str(name) == "cuda" and local < torch.cuda.device_count():
        return torch.device(f"cuda:{local}")
    if str(name) == "cuda" and torch.cuda.is_available():
        raise ValueError(
            f"there are {torch.cuda.device_count()} GPUs here for more processes: start one for each, or take "
            f"--config.device=cpu."
        )
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # meta has shapes alone
    except (RuntimeError, AssertionError) as error:
        count = torch.cuda.device_count()
        here = (
            f"cuda:0 to cuda:{count - 1}" if count > 1 else "cuda" if count else "no GPU that torch can use"
        )
        raise ValueError(
            f"config.device={name!s} cannot be used: beside the cpu there is {here}. Take auto, or one of these."
        ) from error
    return device

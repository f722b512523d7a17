"""The device and the precision of a plan: the one place that moves what a plan holds."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from sde_lib.rebuilding import INSIDE, Rebuilding

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
T = TypeVar("T")


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

    @property
    def memory_format(self) -> torch.memory_format:
        """How the weights of an image network lie, which decides how its features do.

        The channels are last where convolutions are products of such rows: on processors, and on an NVIDIA GPU in
        TF32 and half precision. Elsewhere they come before the positions, so that nothing is copied around each of
        them.
        """
        products = self.precision is not torch.float32 or self.tf32
        last = self.device.type == "cpu" or (self.device.type == "cuda" and products)
        return torch.channels_last if last else torch.contiguous_format

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
        return _Placing(self.device)(held)

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Lower precision where it is asked for; some devices have none."""
        if self.precision is torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.precision)


class _Placing(Rebuilding):
    """Moves modules where they are, and tensors to new ones."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device

    def replacement(self, part: Any) -> Any:
        if isinstance(part, Tensor):
            return part.to(self._device)
        if not isinstance(part, nn.Module):
            return INSIDE
        for module in part.modules():
            for name, held in list(vars(module).items()):
                if (placed := self._plain(held)) is not held:
                    setattr(module, name, placed)
        numbers = self._device.type == "meta" or not any(p.is_meta for p in part.parameters())
        return part.to(self._device) if numbers else part  # shapes alone are nowhere

    def _plain(self, held: Any) -> Any:
        """What a module holds beside its parameters, buffers and modules, which torch knows and moves itself."""
        plain = dataclasses.is_dataclass(held) or isinstance(held, Tensor)
        return self(held) if plain and not isinstance(held, type) else held


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

"""The device and the numeric policy of a plan: the one place that moves what a plan holds."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from run_lib.computing.numerics import FLOAT32, Arithmetic
from sde_lib.rebuilding import INSIDE, Rebuilding

T = TypeVar("T")


@dataclass(frozen=True)
class Placement:
    """Where a plan's modules and tensors live, and how networks are evaluated there.

    Attributes:
        device: of everything.
        training: of the losses whose gradients are taken.
        sampling: of everything that moves samples.
        evaluation: of losses and likelihoods that are reported.
    """

    device: torch.device
    training: Arithmetic = FLOAT32
    sampling: Arithmetic = FLOAT32
    evaluation: Arithmetic = FLOAT32

    def in_float32(self) -> Placement:
        """The same for what is computed in float32 whatever the policy, such as the features of images."""
        plain = Arithmetic(deterministic=self.evaluation.deterministic)
        return Placement(self.device, plain, plain, plain)

    @property
    def memory_format(self) -> torch.memory_format:
        """How the weights of an image network lie, which decides how its features do.

        The channels are last where convolutions are products of such rows: on processors, and on an NVIDIA GPU in
        TF32 and half precision. Elsewhere they come before the positions, so that nothing is copied around each of
        them.
        """
        products = any(a.precision != "float32" for a in (self.training, self.sampling, self.evaluation))
        last = self.device.type == "cpu" or (self.device.type == "cuda" and products)
        return torch.channels_last if last else torch.contiguous_format

    def place(self, held: T) -> T:
        """The same with every module and every tensor that it holds on the device.

        Modules are moved where they are, so whoever shares one shares the moved one. Dataclasses, tuples and
        dictionaries that hold a tensor are made anew, since they are frozen. Other objects are left alone: what has
        tables to be moved is a module or a dataclass.
        """
        return _Placing(self.device)(held)


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

"""What a published checkpoint family is: how to recognise it and how its names map to ours."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from models.base import Network
from models.checkpoints.architecture import Described
from sde_lib.registry import Registry


@dataclass(frozen=True)
class TrainingParts:
    """The progress of a training run.

    Args:
        optimizer: the state of a torch optimizer over ``network.parameters()``.
        num_updates: of the average so far.
        step: training steps done.
    """

    optimizer: Mapping[str, Any]
    num_updates: int
    step: int


class Family(abc.ABC):
    """A family of published checkpoints, with one file format and one naming of the weights.

    Families have no state. They are registered by name.
    """

    name: ClassVar[str]

    @abc.abstractmethod
    def recognises(self, payload: Mapping[str, Any]) -> bool:
        """Whether the unpickled file (``weights_only=True``) is of this family, from its keys alone."""

    @abc.abstractmethod
    def tensors(self, payload: Mapping[str, Any], *, ema: bool) -> dict[str, Tensor]:
        """All parameters by the family's own names, without the buffers that a config determines.

        Args:
            payload: the unpickled file.
            ema: the averaged weights where the file has both.

        Raises:
            ValueError: the file has not what was asked for.
        """

    def fitted(self, tensors: dict[str, Tensor], network: Network) -> dict[str, Tensor]:
        """The weights as ``network`` takes them, where it takes a part of what the file has; by default as they are."""
        return tensors

    @abc.abstractmethod
    def key_map(self, network: Network) -> dict[str, str]:
        """The family's name of every parameter of ``network``, by our name.

        Raises:
            ValueError: the family has no network of this architecture.
        """

    def left_out(self, payload: Any, network: Network, *, ema: bool) -> dict[str, str]:
        """Why each part of the file that is not loaded into ``network`` is left out, by its name; by default none is.

        Raises:
            ValueError: they show that the file is of another network.
        """
        return {}

    def described(self, payload: Any, size: tuple[int, int]) -> Described | None:
        """The network that the content of a file describes; None where the family's files do not.

        Args:
            payload: the unpickled file.
            size: height and width of the images, for families whose files do not tell it.

        Raises:
            ValueError: it is none of ours.
        """
        return None

    def training(self, payload: Any, network: Network) -> TrainingParts | None:
        """What a training run is resumed from beside the weights; None where the family's files have only weights.

        Raises:
            ValueError: the file lacks it.
        """
        return None


def table_error(table: Tensor) -> float:
    """The relative error to expect of a table of noise levels in a file: its program's, or its precision's."""
    return max(1e-4, torch.finfo(table.dtype).eps)


register_family: Registry[Family] = Registry("checkpoint family")

"""What a published checkpoint family is: how to recognise it and how its names map to ours."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from models.base import Network
from sde_lib.registry import Registry


class Family(abc.ABC):
    """One published file format. Stateless; a file each, registered by name."""

    name: ClassVar[str]

    @abc.abstractmethod
    def recognises(self, payload: Mapping[str, Any]) -> bool:
        """Whether the unpickled file (``weights_only=True``) is of this family, from its keys alone."""

    @abc.abstractmethod
    def tensors(self, payload: Mapping[str, Any], *, ema: bool) -> dict[str, Tensor]:
        """Every parameter under the family's own name (buffers that a config determines left out).

        Args:
            payload: the unpickled file.
            ema: the averaged weights where the file has both.

        Raises:
            ValueError: the file has not what was asked for.
        """

    @abc.abstractmethod
    def key_map(self, network: Network) -> dict[str, str]:
        """Our parameter name -> the family's name, for every parameter of ``network``.

        Raises:
            ValueError: the family has no network of this architecture.
        """


register_family: Registry[Family] = Registry("checkpoint family")

"""What a loss learns beside the network's weights."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import final

from torch import Tensor, nn


class Learned(nn.Module, abc.ABC):
    """Trained by the network's optimiser, kept in checkpoints, and in no average, since no sample depends on it."""

    @abc.abstractmethod
    def constrain(self) -> None:
        """Bring weights back to where they are defined to lie, before each step."""


@final
class LearnedParts(Learned):
    """All that a loss learns, by name.

    Args:
        parts: None: there is none of that name.
    """

    def __init__(self, **parts: Learned | None) -> None:
        super().__init__()
        self._parts = {name: part for name, part in parts.items() if part is not None}
        for name, part in self._parts.items():
            self.add_module(name, part)

    def __bool__(self) -> bool:
        return bool(self._parts)

    def restore(self, held: Mapping[str, Tensor]) -> None:
        """Take from a checkpoint each part that it has; others stay as they are made, as for an evaluation under other
        times than those of the training."""
        for name, part in self._parts.items():
            own = {key.removeprefix(f"{name}."): v for key, v in held.items() if key.startswith(f"{name}.")}
            if own:
                part.load_state_dict(own)

    def constrain(self) -> None:
        for part in self._parts.values():
            part.constrain()

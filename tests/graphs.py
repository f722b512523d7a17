"""What the compiler sees of a function: how many graphs it traces, with no break in any."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import pytest
import torch

F = TypeVar("F", bound=Callable[..., Any])


class Traced:
    """Compiles functions whole, runs what was traced by torch's plain operations, and counts.

    Attributes:
        graphs: how many have been traced since it was made, with at least one operation.
    """

    def __init__(self) -> None:
        torch._dynamo.reset()
        self.graphs = 0

    def __call__(self, function: F) -> F:
        compiled: Any = torch.compile(function, backend=self._keep, fullgraph=True)
        return compiled

    def _keep(self, module: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        self.graphs += 1
        return module.forward


def quick_and_slow(names: Iterable[str], *quick: str) -> list[Any]:
    """Parameters of a test, of which all but the ``quick`` ones are slow: to trace takes seconds."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]

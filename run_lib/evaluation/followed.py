"""How far the likelihoods of one batch have come, which the progress of the batches then shows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from likelihood.flow import Flow, Moving, Velocity
from models.prediction.noise_model import Model
from run_lib.output.progress import within_unit

EVERY = 8
"""Evaluations from one look at the coordinates to the next: a look waits for the device."""


@dataclass
class FollowedFlow:
    """Evaluates a flow, and tells which share of its coordinates the slowest sample has behind it.

    Args:
        moving: evaluates it.
    """

    moving: Moving
    evaluations: int = 0

    def __call__(
        self, flow: Flow, model: Model, cond: dict[str, Tensor], u: Tensor, /, *state: Any
    ) -> Velocity:
        found = self.moving(flow, model, cond, u, *state)
        self.evaluations += 1
        if self.evaluations % EVERY == 0:
            within_unit((float(u.min()) - flow.start) / (flow.end - flow.start))
        return found


@contextlib.contextmanager
def counted(model: nn.Module, evaluations: int) -> Iterator[None]:
    """Within the block, each evaluation of a model is told as one of so many."""
    done = 0

    def tell(*_: object) -> None:
        nonlocal done
        done += 1
        within_unit(done / evaluations)

    handle = model.register_forward_hook(tell)
    try:
        yield
    finally:
        handle.remove()

"""What the configuration's network costs."""

from __future__ import annotations

import torch
from torch import Tensor

from models.describe import describe as measure
from run_lib.run import Run


def describe(run: Run) -> None:
    """Print layer groups, parameters, arithmetic and activation memory; needs neither weights nor data."""
    e = run.experiment
    cond: dict[str, Tensor] = {}
    if e.num_classes and not e.network.classifies:
        cond["y"] = torch.zeros(1, dtype=torch.int64)
    if e.network.sees_low_res:
        # Of any size: the network enlarges it to that of the state first.
        cond["low_res"] = torch.zeros(1, *e.data.shape)
    print(measure(e.network, e.data.shape, **cond).table())

"""``--mode describe``: parameters, arithmetic and activation memory of the network."""

from __future__ import annotations

import torch
from torch import Tensor

from models.describe import describe as measure
from run_lib.config.plans import DescriptionPlan
from run_lib.data.classes import listed
from run_lib.run import Run
from run_lib.training.known_classes import classes_of


def describe(plan: DescriptionPlan, run: Run) -> None:
    """Print layer groups, parameters, arithmetic and activation memory; needs neither weights nor data.

    Where the work directory has a checkpoint that knows its classes, their names are printed too.
    """
    cond: dict[str, Tensor] = {}
    if plan.num_classes and not plan.network.classifies:
        cond["y"] = torch.zeros(1, dtype=torch.int64)
    if plan.network.sees_low_res:
        # Of any size: the network enlarges it to that of the state first.
        cond["low_res"] = torch.zeros(1, *plan.shape)
    print(measure(plan.network, plan.shape, **cond).table())
    latest = run.checkpoints.latest() if plan.num_classes else None
    if latest is not None and (names := classes_of(latest)):
        print(f"classes of labels 0 to {len(names) - 1}: {listed(names)}")
    if plan.unused:
        print(f"set in {run.config_file}, and taken by nothing that it chooses: {', '.join(plan.unused)}")

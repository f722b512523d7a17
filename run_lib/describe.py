"""``--mode describe``: parameters, arithmetic and activation memory of the network."""

from __future__ import annotations

from models.describe import describe as measure
from models.describe import example_conditions
from run_lib.config.plans import DescriptionPlan
from run_lib.run import Run


def describe(plan: DescriptionPlan, run: Run) -> None:
    """Print layer groups, parameters, arithmetic and activation memory; needs neither weights nor data."""
    cond = example_conditions(plan.network, plan.num_classes, plan.shape)
    print(measure(plan.network, plan.shape, **cond).table())
    if plan.unused:
        print(f"set in {run.config_file}, and taken by nothing that it chooses: {', '.join(plan.unused)}")
